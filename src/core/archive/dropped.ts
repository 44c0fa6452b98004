import { bytesToText } from '../../util/byte-string.ts'

/** pgBackRest's words, which monitoring looks for. */
export function droppedWarning(name: string, limitBytes: number): string {
  return `dropped WAL file '${bytesToText(name)}' because archive queue exceeded ${sizeText(limitBytes)}`
}

export const GAP_HINT =
  'HINT: point-in-time recovery cannot pass this gap: make archiving work again and take a new backup'

/** In the unit of the configuration that divides it: `16MiB`. */
export function sizeText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']
  let unit = 0
  for (; unit < units.length - 1 && bytes >= 1024 && bytes % 1024 === 0; unit++) bytes /= 1024
  return `${bytes}${units[unit]}`
}
