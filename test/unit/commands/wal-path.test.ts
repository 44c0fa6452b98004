import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { resolveWalPath } from '../../../src/commands/shared/wal-path.ts'

const root = realpathSync(mkdtempSync(join(tmpdir(), 'pgts-wal-path-')))
afterAll(() => rmSync(root, { recursive: true, force: true }))
const data = join(root, 'data')
mkdirSync(data)
symlinkSync(data, join(root, 'link'))

test('an absolute WAL path is not changed', async () => {
  expect(await resolveWalPath('archive-push', '/elsewhere/pg_wal/x', undefined, '/')).toBe('/elsewhere/pg_wal/x')
})

test('a relative WAL path is below pg1-path, the working directory of commands that the server starts', async () => {
  expect(await resolveWalPath('archive-push', 'pg_wal/x', data, data)).toBe(`${data}/pg_wal/x`)
})

test('pg1-path may be a link to the data directory', async () => {
  const link = join(root, 'link')
  expect(await resolveWalPath('archive-push', 'pg_wal/x', link, data)).toBe(`${link}/pg_wal/x`)
})

test('a relative WAL path from another working directory is refused: a copied cluster with the settings of the original', async () => {
  await expect(resolveWalPath('archive-push', 'pg_wal/x', data, root)).rejects.toMatchObject({
    exitCode: 32,
    message: expect.stringMatching(new RegExp(`${root}, which is not .* ${data}`)) as string,
    hints: expect.arrayContaining([expect.stringContaining('copy')]) as string[],
  })
})

test('a relative WAL path without pg1-path is refused', async () => {
  await expect(resolveWalPath('archive-push', 'x', undefined, data)).rejects.toMatchObject({
    exitCode: 37,
    hints: expect.arrayContaining([expect.stringContaining('%p')]) as string[],
  })
})

test('a relative WAL path with a pg1-path that does not exist is refused', async () => {
  await expect(resolveWalPath('archive-get', 'x', join(root, 'gone'), data)).rejects.toMatchObject({ exitCode: 73 })
})
