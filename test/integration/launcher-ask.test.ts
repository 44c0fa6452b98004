import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { moveOnRequest } from '../../src/core/archive/get/get-requests.ts'
import { spoolPaths } from '../../src/core/archive/spool/spool-files.ts'
import { textToBytes } from '../../src/util/byte-string.ts'
import { LaunchSite, NODE_CODE, SEGMENT, SHELLS } from '../support/processes/launch-site.ts'
import { giveToTestUser, isInstalled } from '../support/processes/test-user.ts'
import { until } from '../support/until.ts'
import { recordingLog } from '../support/builders/wal.ts'

/** The launcher requests that the background process moves a segment, and handles every other answer. */

const TARGET = 'pg_wal/RECOVERYXLOG'
const HIT = { code: 0, stdout: '', stderr: '', node: undefined }
const NODE = { code: NODE_CODE, stdout: '', stderr: '' }
const shells = SHELLS.filter(([, [program = '']]) => isInstalled(program))
const get = (segment = SEGMENT) => ['--stanza=main', 'archive-get', segment, TARGET]

class AskSite extends LaunchSite {
  readonly ask = join(this.spool, 'ask')
  readonly target = join(this.data, TARGET)
  readonly bin = join(this.dir, 'bin')

  static async make(): Promise<AskSite> {
    const site = new AskSite()
    site.fetched()
    mkdirSync(site.bin)
    mkdirSync(site.ask)
    expect(await site.prepare('archive-get', ['--stanza=main', 'archive-get', undefined, undefined])).toBe(true)
    return site
  }

  get requests(): string[] {
    return readdirSync(this.ask)
  }

  /** The background process, run in this process. */
  movers(): Disposable {
    const spool = spoolPaths(join(this.spool, '..', '..'), 'main')
    expect(spool.root).toBe(textToBytes(this.spool))
    const movers = moveOnRequest({ spool, target: textToBytes(this.target), isOurs: () => true, log: recordingLog() })
    // In production it runs as the same user as the launcher.
    giveToTestUser(this.ask)
    return movers
  }

  /** Run this between the last check of the launcher and its mv, which then fails. */
  insteadOfMv(what: string): Readonly<Record<string, string>> {
    writeFileSync(
      join(this.bin, 'mv'),
      `#!/bin/sh\nPATH=/usr/bin:/bin\n[ "$1" = -f ] || exec mv "$@"\nfrom=$3 to=$4\necho "$*" >>'${this.dir}/moved'\n${what}\nexit 1\n`,
    )
    chmodSync(join(this.bin, 'mv'), 0o755)
    this.own()
    return { PATH: `${this.bin}:/usr/local/bin:/usr/bin:/bin` }
  }

  wasMvStarted(): boolean {
    return existsSync(join(this.dir, 'moved'))
  }
}

const content = `fetched ${SEGMENT}`

describe.each(shells)('%s', (_, shell) => {
  test('starts no process when the background process moves the segment', async () => {
    const site = await AskSite.make()
    using _movers = site.movers()
    const trace = join(site.dir, 'trace')
    const traced = ['strace', '-f', '-qq', '-e', 'trace=execve,fork,vfork,clone,clone3', '-e', 'signal=none']
    let started: string[] = []
    // On a busy machine it may be too late: then mv is started, and the result is the same.
    await until('an answer without a process', async () => {
      rmSync(site.target, { force: true })
      site.fetched()
      expect(await site.run([...traced, '-o', trace, ...shell], get())).toMatchObject(HIT)
      expect(readFileSync(site.target, 'utf8')).toBe(content)
      expect(readdirSync(site.in)).toEqual([])
      started = readFileSync(trace, 'utf8')
        .split('\n')
        .filter((line) => / = [0-9]+$|<unfinished/.test(line))
        .map((line) => line.replace(/^\d+ +|\(.*/g, ''))
      return started.length === 1
    })
    expect(started).toEqual(['execve'])
    await until('the end of the requests', () => site.requests.length === 0)
  })

  test('uses mv when the request is not answered, and requests again only after an answer', async () => {
    const site = await AskSite.make()
    expect(await site.run(shell, get())).toMatchObject(HIT)
    expect(readFileSync(site.target, 'utf8')).toBe(content)
    const left = site.requests.sort()
    expect(left).toEqual([expect.stringMatching(`^${SEGMENT}\\.[1-9][0-9]*$`), 'unheard'])
    rmSync(site.target)
    site.fetched()
    expect(await site.run(shell, get())).toMatchObject(HIT)
    expect(site.requests.sort()).toEqual(left)

    using _movers = site.movers()
    expect(site.requests).toEqual([])
    // Left by a process that has ended: the next call requests again.
    writeFileSync(join(site.ask, 'unheard'), '')
    await until('the end of what was left', () => site.requests.length === 0)
  })

  test.each([
    ['moves it later', 'mv "$from" "$to"', HIT],
    ['does nothing', ':', NODE],
    ['moves it elsewhere', 'mv "$from" "$to.other"', NODE],
    ['removes it', 'rm "$from"', NODE],
    ['puts another file there', 'rm "$from"; echo other >"$to"', NODE],
    ['puts an equal file there', 'cp "$from" "$to"; rm "$from"', NODE],
    ['leaves it under both names', 'ln "$from" "$to"', NODE],
    ['puts a link there', 'mv "$from" "$to.other"; ln -s RECOVERYXLOG.other "$to"', NODE],
    ['puts a directory there', 'mv "$from" "$to.other"; mkdir "$to"', NODE],
    ['moves another one', 'echo other >"$from.new"; mv "$from.new" "$from"; mv "$from" "$to"', NODE],
    ['replaces the whole spool', `cp "$from" "$to"; rm -r "\${from%/in/*}"`, NODE],
  ])('accepts only the file itself at the target, when another process %s', async (_, what, result) => {
    const site = await AskSite.make()
    expect(await site.run(shell, get(), { env: site.insteadOfMv(what) })).toMatchObject(result)
    expect(site.wasMvStarted()).toBe(true)
  })

  test.each<[string, (site: AskSite) => void]>([
    ['no process can be requested', (site) => rmSync(site.ask, { recursive: true })],
    [
      'a file is in the way',
      (site) => {
        rmSync(site.ask, { recursive: true })
        writeFileSync(site.ask, '')
      },
    ],
    [
      'a FIFO is in the way',
      (site) => {
        rmSync(site.ask, { recursive: true })
        execFileSync('mkfifo', [site.ask])
      },
    ],
    [
      'a link leads nowhere',
      (site) => {
        rmSync(site.ask, { recursive: true })
        symlinkSync('nowhere', site.ask)
      },
    ],
    ['earlier requests have not been answered', (site) => execFileSync('mkfifo', [join(site.ask, 'unheard')])],
    ['it may not write the request', (site) => chmodSync(site.ask, 0o500)],
    ['a file exists at the target', (site) => writeFileSync(site.target, 'of another process')],
  ])('moves the segment itself when %s', async (_, change) => {
    const site = await AskSite.make()
    change(site)
    site.own()
    const before = lstatSync(site.ask, { throwIfNoEntry: false })?.isDirectory() === true ? site.requests : undefined
    expect(await site.run(shell, get())).toMatchObject(HIT)
    expect(readFileSync(site.target, 'utf8')).toBe(content)
    if (before !== undefined) expect(site.requests).toEqual(before)
  })
})

test('of concurrent calls each that exits with 0 has its segment', async () => {
  const site = await AskSite.make()
  using _movers = site.movers()
  const results = await Promise.all([...shells, ...shells].map(([, shell]) => site.run(shell, get())))
  expect(results.filter(({ code }) => code === 0).length).toBeGreaterThan(0)
  for (const result of results) expect(result).toMatchObject(result.node === undefined ? HIT : NODE)
  expect(readFileSync(site.target, 'utf8')).toBe(content)
})
