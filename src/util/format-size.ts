const UNITS = [
  ['GB', 1024 ** 3],
  ['MB', 1024 ** 2],
  ['KB', 1024],
] as const

/** A size in the form of pgBackRest: `8192` is `8KB`, `36291789` is `34.6MB`. One decimal, rounded half up. */
export function formatSize(sizeBytes: number): string {
  for (const [unit, bytes] of UNITS) {
    if (sizeBytes >= bytes) return `${Math.floor((sizeBytes * 10) / bytes + 0.5) / 10}${unit}`
  }
  return `${sizeBytes}B`
}
