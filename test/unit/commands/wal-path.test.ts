import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { resolveWalPath } from '../../../src/commands/wal-path.ts'

const root = realpathSync(mkdtempSync(join(tmpdir(), 'pgts-wal-path-')))
afterAll(() => rmSync(root, { recursive: true, force: true }))
const data = join(root, 'data')
mkdirSync(data)
symlinkSync(data, join(root, 'link'))

test('an absolute path is taken as it is', async () => {
  expect(await resolveWalPath('archive-push', '/elsewhere/pg_wal/x', undefined, '/')).toBe('/elsewhere/pg_wal/x')
})

test('a relative path is below pg1-path, where the server starts its commands', async () => {
  expect(await resolveWalPath('archive-push', 'pg_wal/x', data, data)).toBe(`${data}/pg_wal/x`)
})

test('pg1-path may be a link to the data directory', async () => {
  const link = join(root, 'link')
  expect(await resolveWalPath('archive-push', 'pg_wal/x', link, data)).toBe(`${link}/pg_wal/x`)
})

test('another directory is a copy that still has the settings of the original', async () => {
  await expect(resolveWalPath('archive-push', 'pg_wal/x', data, root)).rejects.toMatchObject({
    exitCode: 32,
    message: expect.stringMatching(new RegExp(`${root}, which is not .* ${data}`)) as string,
    hints: expect.arrayContaining([expect.stringContaining('copy')]) as string[],
  })
})

test('without pg1-path nobody knows where a relative path begins', async () => {
  await expect(resolveWalPath('archive-push', 'x', undefined, data)).rejects.toMatchObject({
    exitCode: 37,
    hints: expect.arrayContaining([expect.stringContaining('%p')]) as string[],
  })
})

test('a pg1-path that does not exist', async () => {
  await expect(resolveWalPath('archive-get', 'x', join(root, 'gone'), data)).rejects.toMatchObject({ exitCode: 73 })
})
