import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { prepareSpool, spoolPaths, type SpoolPaths } from '../../../../src/core/archive/spool/spool-files.ts'
import { removeSpool } from '../../../../src/core/archive/spool/remove-spool.ts'
import { removeTreeSync } from '../../../../src/util/remove-tree.ts'
import { recordingLog } from '../../../support/builders/wal.ts'
import { until } from '../../../support/until.ts'

let root: string
let spool: SpoolPaths
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'pgts-spool-'))
  spool = spoolPaths(root, 'main')
  prepareSpool(spool)
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

/** Another process that creates files in a directory as fast as it can, until it is disposed. */
async function writerIn(directory: string): Promise<Disposable> {
  const program = `const fs = require('fs'); let n = 0
    const write = () => { for (let i = 0; i < 20; i++) try { fs.writeFileSync(process.argv[1] + '/' + n++ % 5000, 'x') } catch {} }
    setInterval(write, 0); process.on('disconnect', () => process.exit())`
  const child = spawn(process.execPath, ['-e', program, directory], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  await until('the writer has begun', async () => readdirSync(directory).length > 100, { deadlineMs: 20_000 })
  return { [Symbol.dispose]: () => void child.kill('SIGKILL') }
}

describe('removeSpool', () => {
  test('renames the spool while a process still writes to it', async () => {
    const log = recordingLog()
    const removals = 5
    for (let round = 0; round < removals; round++) {
      prepareSpool(spool)
      using _writer = await writerIn(spool.in)
      removeSpool(spool, log)
      expect(existsSync(spool.root)).toBe(false)
      expect(readdirSync(join(root, 'archive'))).toEqual([])
    }
    expect(log.lines).toEqual([])
  })

  test('succeeds without a spool, and without a spool path', () => {
    removeSpool(spool, recordingLog())
    removeSpool(spool, recordingLog())
    removeSpool(spoolPaths(join(root, 'none'), 'main'), recordingLog())
    expect(readdirSync(join(root, 'archive'))).toEqual([])
  })

  test('removes the remains of an earlier removal, and no files of other stanzas', () => {
    mkdirSync(join(root, 'archive/.removed-main-1-2/in'), { recursive: true })
    mkdirSync(join(root, 'archive/other/in'), { recursive: true })
    removeSpool(spool, recordingLog())
    expect(readdirSync(join(root, 'archive'))).toEqual(['other'])
  })
})

test('removeTreeSync continues while another process adds files', async () => {
  const tree = join(root, 'tree')
  mkdirSync(tree)
  for (let n = 0; n < 3000; n++) writeFileSync(join(tree, `old${n}`), '')
  using _writer = await writerIn(tree)
  removeTreeSync(tree)
})
