import { afterAll } from 'vitest'

/**
 * Counts what was proven, a cell for each thing that one program did with what the other wrote, and prints the number
 * at the end of the file. Where nothing may be left out (CI), playing fewer cells than planned fails.
 */
export function countCells(title: string, planned: number): (name: string) => void {
  const played = new Set<string>()
  afterAll(() => {
    console.log(`${title}: ${played.size} of ${planned} interop cells played`)
    if (process.env['PGTS_TEST_REQUIRE_ALL'] !== undefined && played.size !== planned)
      throw new Error(`${title}: ${played.size} cells were played, ${planned} were planned`)
  })
  return (name) => void played.add(name)
}
