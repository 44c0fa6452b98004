import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it, test } from 'vitest'
import { isHostError, PgtsError } from '../../../src/util/error.ts'
import { loadFailure, loadModule, requireModule } from '../../../src/util/load-module.ts'

const scratch = mkdtempSync(join(tmpdir(), 'pgts-load-'))
afterAll(() => rmSync(scratch, { recursive: true }))

function scratchFile(name: string, content: string): string {
  const path = join(scratch, name)
  writeFileSync(path, content)
  return path
}

async function failureOf(work: () => unknown): Promise<PgtsError> {
  try {
    await work()
  } catch (error) {
    if (error instanceof PgtsError) return error
    throw error
  }
  throw new Error('it was loaded')
}

describe('a module that cannot be loaded', () => {
  it('is reported with the reason when its package is not installed', async () => {
    const error = await failureOf(() => requireModule('no-such-package/binding.js', ['do this first']))
    expect([error.code, error.exitCode, error.message]).toEqual([
      'execute',
      102,
      "pgts is not completely installed: no-such-package cannot be loaded (Cannot find module 'no-such-package/binding.js')",
    ])
    expect(error.hints[0]).toBe('do this first')
    expect(error.hints[1]).toContain('install pgts again')
    expect(isHostError(error)).toBe(true)
  })

  it('is reported when it is truncated to valid or invalid code', async () => {
    const empty = scratchFile('empty.mjs', '')
    const cut = scratchFile('cut.mjs', 'export const a = (')
    expect((await failureOf(() => loadModule(() => import(empty)))).message).toMatch(
      /^pgts is not completely installed: .* cannot be loaded \(it is truncated\)$/,
    )
    expect((await failureOf(() => loadModule(() => import(cut)))).message).toMatch(
      /^pgts is not completely installed: /,
    )
  })

  it('is loaded again by the next call', async () => {
    const path = join(scratch, 'late.cjs')
    expect((await failureOf(() => requireModule(path))).message).toContain(`${path} cannot be loaded`)
    writeFileSync(path, 'exports.here = true')
    expect(requireModule(path)).toEqual({ here: true })
  })

  it('passes on the error of a module that it loads itself', async () => {
    const inner = new PgtsError('execute', 'inner')
    expect(await failureOf(() => loadModule(() => Promise.reject<object>(inner)))).toBe(inner)
  })
})

const opened = (code: string, text: string) => Object.assign(new Error(`${code}: ${text}, open '/opt/x.js'`), { code })
const dlopen = (text: string) => Object.assign(new Error(text), { code: 'ERR_DLOPEN_FAILED' })

test.each([
  [opened('EMFILE', 'too many open files'), 'cannot load /opt/x.js: too many open files', 'ulimit -n'],
  [dlopen('/x/binding.node: cannot open shared object file: Too many open files'), 'too many open files', 'ulimit -n'],
  [opened('ENFILE', 'file table overflow'), 'too many open files on this host', 'fs.file-max'],
  [
    dlopen('/x/binding.node: failed to map segment from shared object: Cannot allocate memory'),
    'out of memory',
    'ulimit -v',
  ],
  [new RangeError('WebAssembly.Instance(): Out of memory: Cannot allocate Wasm memory'), 'out of memory', 'ulimit -v'],
  [opened('EIO', 'i/o error'), 'cannot load /opt/x.js: input/output error', 'check the disk'],
  [dlopen('/x/binding.node: cannot read file data: Input/output error'), 'input/output error', 'check the disk'],
])('names the fault of the host: %s', (cause, message, hint) => {
  const error = loadFailure(cause)
  expect(error.code).toBe('execute')
  expect(error.message).toContain(message)
  expect(error.message).not.toContain('installed')
  expect(error.hints).toHaveLength(1)
  expect(error.hints[0]).toContain(hint)
})

test.each([
  [opened('EACCES', 'permission denied'), "/opt/x.js cannot be loaded (EACCES: permission denied, open '/opt/x.js')"],
  [dlopen('/x/binding.node: invalid ELF header'), 'zstd-napi cannot be loaded (/x/binding.node: invalid ELF header)'],
])('takes everything else for an incomplete installation: %s', (cause, message) => {
  const error = loadFailure(cause, message.startsWith('zstd') ? 'zstd-napi' : undefined)
  expect(error.message).toBe(`pgts is not completely installed: ${message}`)
})
