import { once } from 'node:events'
import { Worker, type MessagePort } from 'node:worker_threads'
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Script } from 'node:vm'
import { afterAll, describe, expect, it, test } from 'vitest'
import { RunFlags, type FromWorker, type ToWorker, type WorkerStart } from '../../../src/worker/protocol.ts'
import { NO_RETRY } from '../../../src/worker/retry.ts'
import { threadExecutor } from '../../../src/worker/threads.ts'
import { projectRoot } from '../../support/postgres/postgres.ts'

const cli = join(projectRoot, 'dist/cli')
const scratch = mkdtempSync(join(tmpdir(), 'pgts-packed-'))
afterAll(() => rmSync(scratch, { recursive: true }))

interface Module {
  readonly name: string
  readonly code: string
  readonly cachedData: Buffer
}

/** The format is described in scripts/build/packed.mjs. */
function modulesOf(path: string): Module[] {
  const bytes = readFileSync(path)
  const index = JSON.parse(bytes.toString('latin1', 40, 40 + bytes.readUInt32LE(36))) as Record<string, number[]>
  return Object.entries(index).map(([name, [offset = 0, codeBytes = 0, cacheBytes = 0]]) => {
    const cacheAt = offset + Math.ceil(codeBytes / 8) * 8
    return {
      name,
      code: bytes.toString('latin1', offset, offset + codeBytes),
      cachedData: bytes.subarray(cacheAt, cacheAt + cacheBytes),
    }
  })
}

/** A copy of the program, so that something can be done to it. */
function copyOfProgram(name: string): string {
  const dir = join(scratch, name, 'dist/cli')
  mkdirSync(dir, { recursive: true })
  writeFileSync(join(dir, 'pgts.conf'), `[global]\nrepo1-path=${dir}/repo\n`)
  cpSync(cli, dir, { recursive: true })
  return dir
}

function startIn(dir: string, nodeOptions: string[] = [], ...args: string[]) {
  const command = args.length > 0 ? args : [`--config=${dir}/pgts.conf`, '--allow-root', 'info']
  return spawnSync(process.execPath, [...nodeOptions, join(dir, 'main.cjs'), ...command], {
    cwd: dir,
    encoding: 'latin1',
  })
}

describe('the modules of the program', () => {
  const modules = modulesOf(join(cli, 'program.packed'))

  it('have caches that the Node they were built with takes', () => {
    expect(modules.length).toBeGreaterThan(50)
    const refused = modules.filter(({ name, code, cachedData }) => {
      const script = new Script(code, { filename: name, cachedData })
      return script.cachedDataRejected !== false
    })
    expect(refused.map(({ name }) => name)).toEqual([])
  })

  it('are read by a command only when it uses them', () => {
    const read = join(scratch, 'read.cjs')
    writeFileSync(
      read,
      `const vm = require('node:vm')
const { Script } = vm
vm.Script = function (code, options) {
  const script = new Script(code, options)
  console.log([options.filename, script.cachedDataRejected].join(' '))
  return script
}
`,
    )
    const filesOf = (...args: string[]) =>
      startIn(copyOfProgram('read'), ['--require', read], ...args).stdout.match(/^[\w-]+\.js \w+$/gm) ?? []
    const version = filesOf('version')
    const info = filesOf()
    expect(version).toContain('main.js false')
    expect(info.length).toBeGreaterThan(version.length)
    expect([...version, ...info].filter((line) => !line.endsWith(' false'))).toEqual([])
    expect(info.join()).toMatch(/\binfo-/)
    expect(info.join()).not.toMatch(/\b(backup|restore|client|yaml|pino)\b/)
  })
})

describe('a cache that does not fit', () => {
  it.each([
    ['of a Node with other flags', ['--stack-size=900'], undefined],
    ['of another version of V8', [], 'V8 of another day'],
  ] as const)('%s is not used and changes nothing', (name, nodeOptions, version) => {
    const dir = copyOfProgram(name)
    const expected = startIn(dir)
    expect(expected.status).toBe(0)
    expect(expected.stdout).not.toBe('')
    if (version !== undefined) {
      const bytes = readFileSync(join(dir, 'program.packed'))
      bytes.fill(0, 0, 32).write(version)
      writeFileSync(join(dir, 'program.packed'), bytes)
    }
    const { status, stdout, stderr } = startIn(dir, [...nodeOptions])
    expect([status, stdout, stderr]).toEqual([0, expected.stdout, expected.stderr])
  })
})

describe('program.packed', () => {
  const DAMAGES: [string, (path: string) => void][] = [
    ['missing', (path) => rmSync(path)],
    ['empty', (path) => truncateSync(path, 0)],
    ['without its index', (path) => truncateSync(path, 100)],
    ['without its last byte', (path) => truncateSync(path, readFileSync(path).length - 1)],
    ['of another size', (path) => writeFileSync(path, Buffer.concat([readFileSync(path), Buffer.alloc(8)]))],
  ]

  it.each(DAMAGES)('is reported when it is %s', (name, damage) => {
    const dir = copyOfProgram(name)
    damage(join(dir, 'program.packed'))
    const { status, stdout, stderr } = startIn(dir, [], 'version')
    expect([status, stdout, stderr]).toEqual([
      102,
      '',
      expect.stringMatching(/^ERROR: \[102\]: pgts is not completely installed: .*program.packed.*\n {7}HINT: install/),
    ])
    // For bin/pgts it is a code of pgts.
    expect(startIn(dir, [], '--launched=1', 'version').status).toBe(102 + 128)
  })

  it.each(DAMAGES)('fails the jobs of a worker when it is %s', async (name, damage) => {
    const dir = copyOfProgram(`worker ${name}`)
    damage(join(dir, 'program.packed'))
    await expect(firstJobOf(dir)).rejects.toMatchObject({
      code: 'execute',
      message: expect.stringMatching(/^pgts is not completely installed: .*program.packed/) as string,
    })
  })
})

test.each([
  ['empty', (path: string) => truncateSync(path, 0)],
  ['truncated', (path: string) => truncateSync(path, 500)],
  ['missing', (path: string) => rmSync(path)],
])('worker.cjs fails the jobs of a worker when it is %s', async (name, damage) => {
  const dir = copyOfProgram(`entry ${name}`)
  damage(join(dir, 'worker.cjs'))
  await expect(firstJobOf(dir)).rejects.toMatchObject({
    code: 'execute',
    message: expect.stringMatching(/^pgts is not completely installed: .*worker.cjs/) as string,
  })
})

test('a complete worker loads its handlers', async () => {
  await expect(firstJobOf(cli)).rejects.toThrow('no handler is known for jobs of kind none')
})

test('a worker of another build than the main thread refuses its jobs', async () => {
  const flags = new RunFlags().buffer
  const start = { worker: 1, setup: {}, levels: [], flags, retry: NO_RETRY, ports: new Map<number, MessagePort>() }
  const workerData: WorkerStart = { ...start, build: 'another' }
  const worker = new Worker(join(cli, 'worker.cjs'), { workerData })
  worker.postMessage({ type: 'jobs', jobs: [{ id: 1, run: 1, kind: 'copyFile', job: {} }] } satisfies ToWorker)
  const [message] = (await once(worker, 'message')) as [FromWorker]
  await worker.terminate()
  expect(message).toMatchObject({
    answers: [
      {
        id: 1,
        error: {
          code: 'execute',
          message: 'pgts was replaced by another build while this command ran',
          hints: ['run the command again'],
        },
      },
    ],
  })
})

async function firstJobOf(dir: string): Promise<void> {
  const setup = { repositories: [], cluster: { kind: 'local' }, bufferBytes: 65536 }
  await using executor = threadExecutor({ workers: 1, setup, entry: pathToFileURL(join(dir, 'worker.cjs')) })
  for await (const _ of executor.run('none', [1], { signal: new AbortController().signal })) break
}
