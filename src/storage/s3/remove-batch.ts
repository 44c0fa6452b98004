import { DeleteObjectsCommand } from '@aws-sdk/client-s3'
import { createHash } from 'node:crypto'
import { textToBytes, type ByteString } from '../../util/byte-string.ts'
import type { NotRemoved } from '../object/client.ts'
import type { HttpRequest } from './commands.ts'
import { isRemovalDenied } from './error.ts'
import { textKey } from './names.ts'
import type { S3Answer } from './refusal.ts'
import type { S3Requests } from './requests.ts'

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
  const Objects = names.map((name) => ({ Key: textKey(name) }))
  const command = () => new DeleteObjectsCommand({ ...requests.common, Delete: { Objects } })
  const { output, refusal } = await requests.send({ action: 'remove', command, prepare: withMd5, signal })
  if (refusal !== undefined) return { refusal }
  const { Deleted = [], Errors = [] } = output
  const answered = new Set([...Deleted, ...Errors].map(({ Key = '' }) => textToBytes(Key)))
  const left = Errors.filter(({ Code }) => Code !== 'NoSuchKey').map(({ Key = '', Code, Message }) => ({
    name: textToBytes(Key),
    reason: [Code, Message].filter((part) => part !== undefined).join(': '),
    denied: isRemovalDenied({ status: 200, code: Code ?? '', message: Message ?? '' }),
  }))
  return { output: { left, unanswered: names.filter((name) => !answered.has(name)) } }
}

/** Services without CRC-32 require an MD5 for a batch of removals, where the library would send only the CRC-32. */
function withMd5({ headers, body }: HttpRequest): void {
  for (const name of Object.keys(headers)) if (/^x-amz-(sdk-)?checksum-/.test(name)) delete headers[name]
  headers['content-md5'] = createHash('md5')
    .update(body as string)
    .digest('base64')
}
