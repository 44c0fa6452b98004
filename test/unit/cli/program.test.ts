import { expect, test } from 'vitest'
import { runProgram } from '../../../src/cli/program.ts'
import { resolveOptions } from '../../../src/config/resolve.ts'

test('does not read the configuration again when the options are known', async () => {
  const argv = ['--stanza=main', '--pg1-path=/pg', '--archive-async', '--spool-path=/spool', 'archive-push', 'pg_wal/x']
  let looks = 0
  const missing = (): undefined => void looks++
  const files = { read: missing, list: missing, mode: missing }
  const input = { argv, env: {}, program: '/usr/bin/pgts', files }
  const known = await resolveOptions(input)
  expect(looks).toBeGreaterThan(0)

  looks = 0
  const stdout = { write: () => undefined }
  const code = await runProgram({ ...input, stdout, known }, async (resolved) => {
    expect(resolved).toBe(known)
    return 7
  })
  expect([code, looks]).toEqual([7, 0])
})
