/**
 * Number of bytes that an answer announced; undefined if it came without a length, as through some proxies.
 *
 * @param contentRange of a 206: `bytes 0-99/1234`
 */
export function sizeOfAnswer(
  contentLength: string | number | undefined,
  contentRange?: string,
): { readonly sizeBytes?: number } {
  if (contentLength !== undefined) return { sizeBytes: Number(contentLength) }
  const [, first, last] = /^bytes (\d+)-(\d+)\//.exec(contentRange ?? '') ?? []
  return last === undefined ? {} : { sizeBytes: Number(last) - Number(first) + 1 }
}
