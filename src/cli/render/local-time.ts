/** `2026-11-22 06:28:17`, in local time. */
export function localTime(epochSeconds: number): string {
  const time = new Date(epochSeconds * 1000)
  const date = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`
  return `${date} ${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`
}

/** `2026-11-22 06:28:17+00`, with minutes where the zone has some. */
export function zonedTime(epochSeconds: number): string {
  const offset = -new Date(epochSeconds * 1000).getTimezoneOffset()
  const minutes = Math.abs(offset)
  const zone = `${offset < 0 ? '-' : '+'}${two(Math.floor(minutes / 60))}`
  return `${localTime(epochSeconds)}${zone}${minutes % 60 === 0 ? '' : `:${two(minutes % 60)}`}`
}

export function two(value: number): string {
  return String(value).padStart(2, '0')
}
