import { XmlNode } from '@aws-sdk/xml-builder'
import { createHash } from 'node:crypto'
import { textToBytes, type ByteString } from '../../util/byte-string.ts'
import type { NotRemoved } from '../object/client.ts'
import type { DirectRequest } from './direct.ts'
import { isRemovalDenied } from './error.ts'
import { textKey } from './names.ts'
import type { S3Answer } from './refusal.ts'
import type { S3Requests } from './requests.ts'
import { elementsIn, rootOf, textIn } from './xml.ts'

export interface BatchAnswer {
  readonly left: readonly NotRemoved[]
  /** Names that the answer does not mention. */
  readonly unanswered: readonly ByteString[]
}

/** Removes several objects with one request. @param names XML can carry them */
export async function removeBatch(
  requests: S3Requests,
  names: readonly ByteString[],
  signal: AbortSignal | undefined,
): Promise<S3Answer<BatchAnswer>> {
  const { input, body } = batchBody(names)
  const subject = { action: 'remove', signal } as const
  const request = { ...subject, operation: 'DeleteObjects', input: { ...requests.common, ...input }, body } as const
  const { output, refusal } = await requests.sendDirect(request)
  if (refusal !== undefined) return { refusal }
  const result = rootOf(output.text ?? '', (error) => requests.failure(error, subject))
  const keyOf = (element: Parameters<typeof textIn>[0]) => textToBytes(textIn(element, 'Key') ?? '')
  const errors = elementsIn(result, 'Error').map((error) => ({
    name: keyOf(error),
    code: textIn(error, 'Code'),
    message: textIn(error, 'Message'),
  }))
  const answered = new Set([...elementsIn(result, 'Deleted').map(keyOf), ...errors.map(({ name }) => name)])
  const left = errors
    .filter(({ code }) => code !== 'NoSuchKey')
    .map(({ name, code, message }) => ({
      name,
      reason: [code, message].filter((part) => part !== undefined).join(': '),
      denied: isRemovalDenied({ status: 200, code: code ?? '', message: message ?? '' }),
    }))
  return { output: { left, unanswered: names.filter((name) => !answered.has(name)) } }
}

/** Every service knows the MD5 of a batch; AWS's client would send a CRC-32 instead. */
export function batchBody(names: readonly ByteString[]): Required<Pick<DirectRequest, 'input' | 'body'>> {
  const root = new XmlNode('Delete').a('xmlns', 'http://s3.amazonaws.com/doc/2006-03-01/')
  for (const name of names) root.c(new XmlNode('Object').c(XmlNode.of('Key', textKey(name))))
  const bytes = Buffer.from(`<?xml version="1.0" encoding="UTF-8"?>${root.toString()}`)
  const digest = (algorithm: string, form: 'hex' | 'base64') => createHash(algorithm).update(bytes).digest(form)
  return {
    input: { ContentLength: bytes.length, ContentMD5: digest('md5', 'base64') },
    body: { bytes, hash: digest('sha256', 'hex') },
  }
}
