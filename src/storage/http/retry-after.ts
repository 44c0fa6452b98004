/**
 * How long a store asked to wait, milliseconds; undefined when it did not say so in a way that can be understood.
 *
 * @param header value of Retry-After: seconds, or a date
 */
export function retryAfterMs(header: string | null | undefined, nowMs: number = Date.now()): number | undefined {
  if (header === undefined || header === null) return undefined
  const text = header.trim()
  if (/^\d+(\.\d+)?$/.test(text)) return Math.round(Number(text) * 1000)
  const at = Date.parse(text)
  return Number.isNaN(at) ? undefined : Math.max(0, at - nowMs)
}
