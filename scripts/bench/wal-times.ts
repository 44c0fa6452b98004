const SEGMENT_SIZE = 16 * 1024 * 1024

/** Eight hex digits of a name. */
export const hex = (value: number) => value.toString(16).toUpperCase().padStart(8, '0')

/** The files of commit times of this many full directories of an archive: the index, and the newest group. */
export function walTimesFiles(directories: number): ReadonlyMap<string, string> {
  const times = (at: number) => [at, at].map((second) => second * 1_000_000)
  const groups = Array.from({ length: directories }, (_, at) => {
    const directory = `00000001${hex(at)}`
    const row = {
      first: `${directory}00000000`,
      last: `${directory}000000FF`,
      count: 256,
      times: times(at),
      incomplete: 0,
    }
    return [`${directory}000000`, row] as const
  })
  const [newest] = groups.at(-1)!
  const segments = Object.fromEntries(
    Array.from({ length: 256 }, (_, at) => [hex(at).slice(-2), { commits: 1, times: times(directories) }]),
  )
  const version = { version: 1, segmentSize: SEGMENT_SIZE }
  return new Map([
    ['index.json', JSON.stringify({ ...version, groups: Object.fromEntries(groups.slice(0, -1)), open: [newest] })],
    [`${newest}.json`, JSON.stringify({ ...version, segments })],
  ])
}
