import { afterAll } from 'vitest'

/**
 * Counts the tested cells (one operation of a program on files of the other one), and prints the number
 * at the end of the file. Where nothing may be skipped (CI), fewer cells than planned are an error.
 */
export function countCells(title: string, planned: number): (name: string) => void {
  const tested = new Set<string>()
  afterAll(() => {
    console.log(`${title}: ${tested.size} of ${planned} interop cells tested`)
    if (process.env['PGTS_TEST_REQUIRE_ALL'] !== undefined && tested.size !== planned)
      throw new Error(`${title}: ${tested.size} cells were tested, ${planned} were planned`)
  })
  return (name) => void tested.add(name)
}
