import { textToBytes } from '../../util/byte-string.ts'
import { nameReader } from './listing.ts'
import type { S3Requests } from './requests.ts'
import { parseXml, textOf } from './xml.ts'

/** Abort the uploads below a prefix that were begun before a time and never completed; their number. */
export async function abortAbandoned(
  requests: S3Requests,
  prefix: string,
  beforeMs: number,
  signal?: AbortSignal,
): Promise<number> {
  const cancel = signal === undefined ? {} : { signal }
  let aborted = 0
  let marker: readonly (readonly [string, string])[] = []
  for (;;) {
    // Names are not asked for in escapes, as elsewhere: some services then escape them without saying so.
    const query = [['uploads', ''], ...(prefix === '' ? [] : [['prefix', prefix]]), ...marker]
    const request = { action: 'list-uploads', method: 'GET', query, ...cancel } as Parameters<S3Requests['textOf']>[0]
    const root = parseXml((await requests.textOf(request)).text)
    const read = nameReader(root)
    for (const upload of root.children.filter(({ name }) => name === 'Upload')) {
      const [key, id] = [read(textOf(upload, 'Key')), textOf(upload, 'UploadId')]
      const begunMs = Date.parse(textOf(upload, 'Initiated') ?? '')
      // Some services list more than what the prefix names.
      if (id === undefined || !key.startsWith(prefix) || !(begunMs < beforeMs)) continue
      const abort = {
        action: 'abort',
        method: 'DELETE',
        name: key,
        query: [['uploadId', textToBytes(id)]],
        ...cancel,
      } as const
      const { response, refusal } = await requests.send(abort)
      if (refusal !== undefined && refusal.status !== 404) throw requests.errorOf(refusal, abort)
      if (response === undefined) continue
      await requests.restOf(response, abort)
      aborted++
    }
    if (textOf(root, 'IsTruncated') !== 'true') return aborted
    const keyMarker = read(textOf(root, 'NextKeyMarker'))
    const idMarker = textToBytes(textOf(root, 'NextUploadIdMarker') ?? '')
    marker = [['key-marker', keyMarker] as const, ['upload-id-marker', idMarker] as const]
  }
}
