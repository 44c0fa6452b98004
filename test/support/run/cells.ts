import { afterAll } from 'vitest'

/**
 * Counts the tested cells (one operation of a program on files of the other one), and prints the number
 * at the end of the file. Where nothing may be skipped (CI), fewer cells than planned are an error.
 */
export function countCells(title: string, planned: number): (name: string) => void {
  const played = new Set<string>()
  afterAll(() => {
    console.log(`${title}: ${played.size} of ${planned} interop cells played`)
    if (process.env['PGTS_TEST_REQUIRE_ALL'] !== undefined && played.size !== planned)
      throw new Error(`${title}: ${played.size} cells were tested, ${planned} were planned`)
  })
  return (name) => void played.add(name)
}
