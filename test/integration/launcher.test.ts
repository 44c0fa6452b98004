import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { execFileSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import type { LaunchCommand } from '../../src/core/archive/launcher/launch-hint.ts'
import { setMtimeNs } from '../../src/util/mtime.ts'
import { LaunchSite, NODE_CODE, SEGMENT, SHELLS, type LaunchResult } from '../support/processes/launch-site.ts'
import { giveToTestUser, isInstalled, pgtsProgram, runAs, testUser } from '../support/processes/test-user.ts'

const HIT = { code: 0, stdout: '', stderr: '', node: undefined }
const WAL = `pg_wal/${SEGMENT}`
const TARGET = 'pg_wal/RECOVERYXLOG'

/** Node was started once with exactly these arguments, its exit code was returned, and the launcher printed nothing. */
function expectNodeCall(args: readonly string[], result: LaunchResult): void {
  expect(result).toMatchObject({ code: NODE_CODE, stdout: '', stderr: '', node: args })
}

const shells = SHELLS.filter(([, [program = '']]) => isInstalled(program))

/** Without shells that differ by an option only. */
const plainShells = shells.filter(([, shell]) => !shell.some((word) => word.startsWith('-')))

async function pushSite(names: ConstructorParameters<typeof LaunchSite>[0] = {}): Promise<LaunchSite> {
  const site = new LaunchSite(names)
  site.archived()
  expect(await site.prepare('archive-push', PUSH_PATTERN)).toBe(true)
  return site
}

async function getSite(): Promise<LaunchSite> {
  const site = new LaunchSite()
  site.fetched()
  expect(await site.prepare('archive-get', GET_PATTERN)).toBe(true)
  return site
}

const PUSH_PATTERN = ['--stanza=main', 'archive-push', undefined]
const PUSH = ['--stanza=main', 'archive-push', WAL]
const GET_PATTERN = ['--stanza=main', 'archive-get', undefined, undefined]
const GET = ['--stanza=main', 'archive-get', SEGMENT, TARGET]

test('one of several concurrent calls takes the fetched segment, and the others start Node', async () => {
  const site = await getSite()
  const results = await Promise.all([...shells, ...shells].map(([, shell]) => site.run(shell, GET)))
  expect(results.filter(({ code, node }) => code === 0 && node === undefined)).toHaveLength(1)
  expect(results.filter(({ code, node }) => code === NODE_CODE && node !== undefined)).toHaveLength(results.length - 1)
  expect(readFileSync(join(site.data, TARGET), 'utf8')).toBe(`fetched ${SEGMENT}`)
})

test('the launcher starts pgts when it is called by a symbolic link', async () => {
  const site = await pushSite()
  const link = join(site.dir, 'pgts link')
  symlinkSync(pgtsProgram(), link)
  symlinkSync('pgts link', `${link} 2`)
  const through = await runAs(testUser, `${link} 2`, PUSH, { cwd: site.data, env: { PGTS_NODE: '/nonexistent' } })
  expect(through).toMatchObject({ code: 0, stdout: '', stderr: '' })
  expect(await runAs(testUser, `${link} 2`, ['version'])).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^pgts /) as string,
  })
  rmSync(site.hint('archive-push'))
  const failed = await runAs(testUser, link, PUSH, { cwd: site.data, env: { PGTS_NODE: '/nonexistent' } })
  expect(failed.code).toBe(125)
})

test('several shells are installed for these tests', () => {
  expect(shells.length).toBeGreaterThanOrEqual(3)
})

describe.each(shells)('%s', (_, shell) => {
  test('answers a push from its ok without Node', async () => {
    const site = await pushSite()
    expect(await site.run(shell, PUSH)).toMatchObject(HIT)
    // Repeatedly, by the absolute name, and from a directory that is a link to the same one.
    symlinkSync(site.data, join(site.dir, 'link'))
    const absolute = ['--stanza=main', 'archive-push', site.wal()]
    expect(await site.run(shell, absolute, { cwd: join(site.dir, 'link') })).toMatchObject(HIT)
    const linked = ['--stanza=main', 'archive-push', join(site.dir, 'link', WAL)]
    expect(await site.run(shell, linked)).toMatchObject(HIT)
  })

  test('moves a fetched segment to its place without Node', async () => {
    const site = await getSite()
    writeFileSync(join(site.data, TARGET), 'of another process')
    site.own()
    expect(await site.run(shell, GET)).toMatchObject(HIT)
    expect(readFileSync(join(site.data, TARGET), 'utf8')).toBe(`fetched ${SEGMENT}`)
    expect(existsSync(join(site.in, SEGMENT))).toBe(false)
    expectNodeCall(GET, await site.run(shell, GET))
  })

  test.each<[string, (site: LaunchSite) => readonly (string | undefined)[]]>([
    ['options after the command', () => ['archive-push', '--stanza=main', undefined]],
    ['options last', () => ['archive-push', undefined, '--stanza=main']],
    [
      'options with their values apart',
      (site) => ['--stanza', 'main', '--config', site.config, 'archive-push', undefined],
    ],
    ['the end of options', () => ['--stanza=main', '--', 'archive-push', undefined]],
    ['the end of options before the parameter', () => ['--stanza=main', 'archive-push', '--', undefined]],
    ['an option that looks like the command', () => ['--cmd=archive-get', '--stanza=main', 'archive-push', undefined]],
    [
      'blanks, quotes and patterns',
      () => ['--stanza=main', `--cmd= a  'b' "c" \`d\` $(e) $f * ? [x] {y,z} ~ #! `, 'archive-push', undefined],
    ],
    ['backslashes and percent signs', () => ['--stanza=main', '--cmd=\\n\\0\\\\ %s %p \\', 'archive-push', undefined]],
    ['a value that is a line of the hint', () => ['--stanza=main', '--cmd', '%', 'archive-push', undefined]],
    ['an argument that is an operator', () => ['--stanza=main', '--cmd', '=', 'archive-push', undefined]],
    [
      'tabs and other letters',
      () => ['--stanza=main', '--cmd=\t\u00fc\u{1f418}\x01\x7f\x1b ', 'archive-push', undefined],
    ],
  ])('passes %s unchanged', async (_, pattern) => {
    const site = new LaunchSite()
    site.archived()
    const words = pattern(site)
    expect(await site.prepare('archive-push', words)).toBe(true)
    const args = words.map((word) => word ?? WAL)
    expect(await site.run(shell, args)).toMatchObject(HIT)
    for (const other of [
      args.toReversed(),
      args.slice(1),
      args.slice(0, -1),
      [...args, '--no-archive-check'],
      [...args, ''],
      ['', ...args],
      args.map((word) => (word === '--stanza=main' ? '--stanza=main ' : word === 'main' ? 'main\n' : word)),
      args.map((word) => (word.startsWith('--cmd=') ? `${word}x` : word)),
      args.map((word) => (word.startsWith('--cmd=') ? `${word}\nx` : word)),
    ]) {
      if (JSON.stringify(other) !== JSON.stringify(args)) expectNodeCall(other, await site.run(shell, other))
    }
  })

  test('handles paths with any characters', async () => {
    const site = await pushSite({
      data: ` da 'ta" $(x) * [a] \\n ü%`,
      spool: `-sp ool'"\\ *`,
      config: 'a b\\.yaml',
    })
    expect(await site.run(shell, PUSH)).toMatchObject(HIT)
    site.fetched()
    expect(await site.prepare('archive-get', GET_PATTERN)).toBe(true)
    const absolute = ['--stanza=main', 'archive-get', SEGMENT, join(site.data, TARGET)]
    expect(await site.run(shell, absolute)).toMatchObject(HIT)
    expect(existsSync(join(site.data, TARGET))).toBe(true)
  })

  test('does not depend on the environment of its caller', async () => {
    const site = await pushSite()
    for (const env of [
      { IFS: '=/.-' },
      { CDPATH: '/', ENV: '/nonexistent', BASH_ENV: '/nonexistent', POSIXLY_CORRECT: '1' },
      { SHELLOPTS: 'errexit:nounset:noglob:noclobber:allexport', LC_ALL: 'C' },
      { LC_ALL: 'C.UTF-8', PATH: '/nonexistent' },
      { pgts_kind: 'get', pgts_stanza: 'x', pgts_spool: '/', pgts_name: 'x', pgts_status: 'x' },
    ]) {
      // With an empty PATH the shell itself must be found first.
      const path = env.PATH === undefined ? shell : [whereIs(shell[0]!), ...shell.slice(1)]
      expect(await site.run(path, PUSH, { env })).toMatchObject(HIT)
    }
  })

  test('does not change the arguments that it passes to Node', async () => {
    const site = new LaunchSite()
    for (const args of [
      [],
      [''],
      ['', '', ''],
      ['version'],
      ['info', '--output=json', '--stanza=a b'],
      ['--', '--stanza', '*'],
      ['-n', '-e', '\\n', '\\c', '%s', '!'],
      ['a\nb', '\n', ' \t ', '\\', "'", '"', '$x', '`y`', '~', '\u{1f418}\u00ff'],
      ['--stanza', 'main', 'archive-push', '(', ')', '-a', '!'],
      ['--stanza=', 'archive-push', WAL],
      ['--stanza=../main', 'archive-push', WAL],
      ['--stanza', 'archive-push'],
      ['archive-get'],
      ['archive-get', '--stanza=ma*', SEGMENT, '%p'],
    ])
      expectNodeCall(args, await site.run(shell, args))
    // Arguments that are not UTF-8 must come from a shell.
    const bytes = await site.run(
      ['sh', '-c', `p=$1; shift; exec ${shell.join(' ')} "$p" "$@" "$(printf 'a\\377\\nb\\001')"`, 'sh'],
      PUSH,
    )
    expect(Buffer.from(bytes.node?.at(-1) ?? '').toString('latin1')).toContain('\nb\x01')
    expect(bytes.code).toBe(NODE_CODE)
  })

  test('starts no process for a push, and only mv for a get without a background process', async () => {
    const site = await pushSite()
    site.fetched()
    await site.prepare('archive-get', GET_PATTERN)
    const trace = join(site.dir, 'trace')
    const traced = [
      'strace',
      '-f',
      '-qq',
      '-e',
      'trace=execve,fork,vfork,clone,clone3',
      '-e',
      'signal=none',
      '-o',
      trace,
      ...shell,
    ]
    const calls = () =>
      readFileSync(trace, 'utf8')
        .split('\n')
        .filter((line) => / = [0-9]+$|<unfinished/.test(line))
    giveToTestUser(site.dir)
    expect(await site.run(traced, PUSH)).toMatchObject(HIT)
    expect(calls().map((line) => line.replace(/^\d+ +|\(.*/g, ''))).toEqual(['execve'])
    expect(await site.run(traced, GET)).toMatchObject(HIT)
    const started = calls()
    expect(started.filter((line) => line.includes('execve('))).toHaveLength(2)
    expect(started.filter((line) => /(fork|clone3?)\(/.test(line))).toHaveLength(1)
    expect(started.some((line) => line.includes('"mv", "-f", "--"'))).toBe(true)
  })

  test('waits a moment for a segment that the background process is about to finish', async () => {
    const site = await pushSite()
    // A replaced sleep creates the ok in the first pause, so that the test needs no clock.
    const bin = join(site.dir, 'bin')
    mkdirSync(bin)
    const sleepDoing = (what: string) => {
      writeFileSync(join(bin, 'sleep'), `#!/bin/sh\necho "$1" >>'${site.dir}/slept'\n${what}\n`)
      chmodSync(join(bin, 'sleep'), 0o755)
      rmSync(join(site.dir, 'slept'), { force: true })
      site.own()
    }
    const env = { PATH: `${bin}:/usr/local/bin:/usr/bin:/bin` }
    const slept = () => readFileSync(join(site.dir, 'slept'), 'utf8').split('\n').length - 1
    const ok = join(site.out, `${SEGMENT}.ok`)

    renameSync(ok, `${site.dir}/ok`)
    sleepDoing(`[ "$1" = 0.03 ] && mv '${site.dir}/ok' '${ok}'; true`)
    expect(await site.run(shell, PUSH, { env })).toMatchObject(HIT)
    expect(slept()).toBe(3)
    expect(existsSync(join(site.spool, 'pgts', 'wake-push'))).toBe(true)

    renameSync(ok, `${site.dir}/ok`)
    for (const [what, times] of [
      ['true', 11],
      [`printf '1\\nno' >'${site.out}/${SEGMENT}.error'`, 1],
      [`rm '${site.out}/${SEGMENT}.error'; printf '1\\nno' >'${site.out}/global.error'`, 1],
      [`rm '${site.out}/global.error'; : >'${site.lock}/main.stop'`, 1],
      [`rm '${site.lock}/main.stop'; rm '${site.spool}/pgts/push.pid'`, 1],
    ] as const) {
      sleepDoing(what)
      // The next call removes the file of the last one: it must exist when that begins.
      if (times === 1) await cleared(site)
      expectNodeCall(PUSH, await site.run(shell, PUSH, { env }))
      expect([what, slept()]).toEqual([what, times])
    }
    await site.prepare('archive-push', PUSH_PATTERN)
    sleepDoing('exit 1')
    await cleared(site)
    expectNodeCall(PUSH, await site.run(shell, PUSH, { env }))
    expect(slept()).toBe(1)

    // The launcher waits for a segment that is being fetched, and not for others.
    site.fetched()
    await site.prepare('archive-get', GET_PATTERN)
    const part = join(site.in, `${SEGMENT}.pgbackrest.tmp`)
    renameSync(join(site.in, SEGMENT), part)
    sleepDoing(`mv '${part}' '${site.in}/${SEGMENT}'`)
    expect(await site.run(shell, GET, { env })).toMatchObject(HIT)
    expect(slept()).toBe(1)
    sleepDoing('true')
    expectNodeCall(GET, await site.run(shell, GET, { env }))
    expect(existsSync(join(site.dir, 'slept'))).toBe(false)
  })
})

async function cleared(site: LaunchSite): Promise<void> {
  for (const path of [join(site.out, `${SEGMENT}.error`), join(site.out, 'global.error'), join(site.lock, 'main.stop')])
    rmSync(path, { force: true })
  await site.prepare('archive-push', PUSH_PATTERN)
}

function whereIs(program: string): string {
  return execFileSync('sh', ['-c', 'command -v "$1"', 'sh', program], { encoding: 'utf8' }).trim()
}

type Change = (site: LaunchSite) => void | readonly string[]

/** A state that differs from the one that Node left. A change may return other arguments for the call. */
const statesForNode: readonly (readonly [string, Change])[] = [
  ...(['archive-push', 'archive-get'] as const).flatMap((command): [string, Change][] => [
    [`${command}: no hint`, (site) => rmSync(site.hint(command))],
    [
      `${command}: a hint of the other command`,
      (site) => {
        const other = command === 'archive-push' ? 'archive-get' : 'archive-push'
        writeFileSync(site.hint(command), readFileSync(site.hint(other)))
      },
    ],
    [
      `${command}: a hint of another user`,
      (site) => (testUser.switched ? chownSync(site.hint(command), 0, 0) : rmSync(site.hint(command))),
    ],
    [`${command}: an unreadable hint`, (site) => chmodSync(site.hint(command), 0)],
    [
      `${command}: a hint behind a link`,
      (site) => {
        renameSync(site.hint(command), `${site.dir}/hint`)
        symlinkSync(`${site.dir}/hint`, site.hint(command))
      },
    ],
    [
      `${command}: a hint that is a directory`,
      (site) => {
        rmSync(site.hint(command))
        mkdirSync(site.hint(command))
      },
    ],
    [
      `${command}: a hint that is a pipe`,
      (site) => {
        rmSync(site.hint(command))
        execFileSync('mkfifo', [site.hint(command)])
        giveToTestUser(site.hint(command))
      },
    ],
    ...[0, 1, 13, 14, 16, 30, 50, -1, -3, -4, -5, -20].map((bytes): [string, Change] => [
      `${command}: a hint cut at ${bytes}`,
      (site) => truncateSync(site.hint(command), bytes < 0 ? statSync(site.hint(command)).size + bytes : bytes),
    ]),
    [`${command}: a hint with other line ends`, (site) => edit(site, command, (text) => text.replaceAll('\n', '\r\n'))],
    [
      `${command}: a hint with a line too long`,
      (site) => edit(site, command, (text) => text.replace('--stanza', 'x'.repeat(100_000))),
    ],
    [
      `${command}: a hint of another kind`,
      (site) => edit(site, command, (text) => text.replace('launch 2', 'launch 1')),
    ],
    [`${command}: a hint with an empty line more`, (site) => edit(site, command, (text) => `\n${text}`)],
    [
      `${command}: a hint with an invalid number`,
      (site) => edit(site, command, (text) => text.replace(/\n4\n\//, '\n4x\n/')),
    ],
    [`${command}: a hint with a sum`, (site) => edit(site, command, (text) => text.replace(/\n4\n\//, '\n2+2\n/'))],
    [
      `${command}: a hint with too many parameters`,
      (site) => edit(site, command, (text) => text.replace('=--stanza=main', '%')),
    ],
    [
      `${command}: a hint for another data directory`,
      (site) => edit(site, command, (text) => text.replace(`\n${site.data}\n`, `\n${site.dir}\n`)),
    ],
    [
      `${command}: a hint for a missing data directory`,
      (site) => edit(site, command, (text) => text.replace(`\n${site.data}\n`, `\n${site.data}-old\n`)),
    ],
    [`${command}: the configuration has changed`, (site) => touch(site.config)],
    [`${command}: the configuration is missing`, (site) => rmSync(site.config)],
    [`${command}: the configuration is as old as the hint`, (site) => copyTime(site.hint(command), site.config)],
    [
      `${command}: the configuration was replaced by an older one`,
      (site) => {
        copyFileSync(site.config, `${site.config}.new`)
        utimesSync(`${site.config}.new`, 1, 1)
        renameSync(`${site.config}.new`, site.config)
      },
    ],
    [`${command}: the settings of the server have changed`, (site) => touch(join(site.data, 'postgresql.conf'))],
    [
      `${command}: the server has been restarted`,
      (site) => rewrite(join(site.data, 'postmaster.pid'), (text) => text.replace('4711', '4712')),
    ],
    [
      `${command}: the server has been restarted under the same number`,
      (site) => rewrite(join(site.data, 'postmaster.pid'), (text) => text.replace('1700000000', '1700000001')),
    ],
    [`${command}: the server has written postmaster.pid again`, (site) => touch(join(site.data, 'postmaster.pid'))],
    [`${command}: no server`, (site) => rmSync(join(site.data, 'postmaster.pid'))],
    [`${command}: an empty postmaster.pid`, (site) => rewrite(join(site.data, 'postmaster.pid'), () => '')],
    ...['', '\n', '0\n', '1\n', '-1\n', '00\n', '4194999\n', '99999999999999999999\n', 'x\n', ' 1\n', '$$\n'].map(
      (text): [string, Change] => [
        `${command}: a background process ${JSON.stringify(text)}`,
        (site) => writeFileSync(join(site.spool, 'pgts', `${kindOf(command)}.pid`), text),
      ],
    ),
    [`${command}: no background process`, (site) => rmSync(join(site.spool, 'pgts', `${kindOf(command)}.pid`))],
    [`${command}: no spool`, (site) => rmSync(site.spool, { recursive: true })],
  ]),

  ['archive-push: an ok with a warning', (site) => site.ok(SEGMENT, '0\ndropped\n')],
  ['archive-push: an ok of an error', (site) => site.ok(SEGMENT, '45\nduplicate\n')],
  [
    'archive-push: an ok that is not a file',
    (site) => {
      rmSync(join(site.out, `${SEGMENT}.ok`))
      mkdirSync(join(site.out, `${SEGMENT}.ok`))
      copyTime(site.wal(), join(site.out, `${SEGMENT}.ok`))
    },
  ],
  [
    'archive-push: an ok of another user',
    (site) => (testUser.switched ? chownSync(join(site.out, `${SEGMENT}.ok`), 0, 0) : site.ok(SEGMENT, 'x')),
  ],
  ['archive-push: an ok older than its segment', (site) => site.ok(SEGMENT, '', -1_000_000_000n)],
  ['archive-push: an ok newer than its segment', (site) => site.ok(SEGMENT, '', 1_000_000_000n)],
  ['archive-push: an ok and an error', (site) => writeFileSync(join(site.out, `${SEGMENT}.error`), '1\nno')],
  [
    'archive-push: no ok, but an error',
    (site) => {
      renameSync(join(site.out, `${SEGMENT}.ok`), join(site.out, `${SEGMENT}.error`))
    },
  ],
  [
    'archive-push: no ok, but an error for all',
    (site) => {
      renameSync(join(site.out, `${SEGMENT}.ok`), join(site.out, 'global.error'))
    },
  ],
  ['archive-push: this stanza is stopped', (site) => writeFileSync(join(site.lock, 'main.stop'), '')],
  ['archive-push: all stanzas are stopped', (site) => writeFileSync(join(site.lock, 'all.stop'), '')],
  ['archive-push: the segment is missing', (site) => rmSync(site.wal())],
  [
    'archive-push: the segment is a directory',
    (site) => {
      rmSync(site.wal())
      mkdirSync(site.wal())
      copyTime(join(site.out, `${SEGMENT}.ok`), site.wal())
    },
  ],
  ...[
    'pg_wal/00000001000000000000002a',
    'pg_wal/00000002.history',
    `pg_wal/${SEGMENT}.partial`,
    `pg_wal/${SEGMENT}.00000028.backup`,
    `pg_wal/../pg_wal/${SEGMENT}`,
    `./pg_wal/${SEGMENT}`,
    `pg_wal//${SEGMENT}`,
    `pg_wal/${SEGMENT}/`,
    `pg_wal/${SEGMENT}\n`,
    `pg_wal/0000000100000000000000??`,
    SEGMENT,
    '',
    '-',
    `--${SEGMENT}`,
  ].map((file): [string, Change] => [
    `archive-push: of ${JSON.stringify(file)}`,
    () => ['--stanza=main', 'archive-push', file],
  ]),
  [
    'archive-push: a segment of the same name elsewhere',
    (site) => {
      mkdirSync(join(site.dir, 'pg_wal'))
      copyFileSync(site.wal(), join(site.dir, WAL))
      copyTime(site.wal(), join(site.dir, WAL))
      return ['--stanza=main', 'archive-push', join(site.dir, WAL)]
    },
  ],

  // The server continues from another state than its spool.
  ['archive-push: a segment written again after a roll-back', (site) => writeFileSync(site.wal(), 'another history')],
  [
    'archive-push: a segment written again after the clock went back',
    (site) => {
      writeFileSync(site.wal(), 'another history')
      utimesSync(site.wal(), 1, 1)
    },
  ],
  [
    'archive-push: a segment written again on a disk whose clock is ahead',
    (site) => {
      writeFileSync(site.wal(), 'another history')
      utimesSync(site.wal(), Date.now() / 1000 + 3600, Date.now() / 1000 + 3600)
    },
  ],
  [
    'archive-push: a warning that is empty after a power cut',
    (site) => {
      site.ok(SEGMENT, '0\ndropped\n')
      touch(join(site.out, `${SEGMENT}.ok`))
      truncateSync(join(site.out, `${SEGMENT}.ok`), 0)
    },
  ],
  [
    'archive-push: the cluster has been created again',
    (site) => {
      rmSync(site.data, { recursive: true })
      mkdirSync(site.archiveStatus, { recursive: true })
      writeFileSync(site.wal(), 'another cluster')
      site.own()
    },
  ],

  ['archive-get: nothing was fetched', (site) => rmSync(join(site.in, SEGMENT))],
  ['archive-get: the fetched segment has a warning', (site) => writeFileSync(join(site.in, `${SEGMENT}.ok`), '0\nx')],
  [
    'archive-get: the archive does not have it',
    (site) => renameSync(join(site.in, SEGMENT), join(site.in, `${SEGMENT}.ok`)),
  ],
  ['archive-get: it could not be fetched', (site) => writeFileSync(join(site.in, `${SEGMENT}.error`), '1\nx')],
  [
    'archive-get: being fetched, but there is an error for all',
    (site) => {
      renameSync(join(site.in, SEGMENT), join(site.in, `${SEGMENT}.pgbackrest.tmp`))
      writeFileSync(join(site.in, 'global.error'), '1\nx')
    },
  ],
  [
    'archive-get: the fetched segment is a link',
    (site) => {
      renameSync(join(site.in, SEGMENT), join(site.dir, SEGMENT))
      symlinkSync(join(site.dir, SEGMENT), join(site.in, SEGMENT))
    },
  ],
  [
    'archive-get: the fetched segment is a directory',
    (site) => {
      rmSync(join(site.in, SEGMENT))
      mkdirSync(join(site.in, SEGMENT))
    },
  ],
  [
    'archive-get: the fetched segment is of another user',
    (site) => (testUser.switched ? chownSync(join(site.in, SEGMENT), 0, 0) : rmSync(join(site.in, SEGMENT))),
  ],
  ['archive-get: the target is a directory', (site) => mkdirSync(join(site.data, TARGET))],
  ['archive-get: the target is a link', (site) => symlinkSync('/dev/null', join(site.data, TARGET))],
  ['archive-get: the directory of the target is read-only', (site) => chmodSync(join(site.data, 'pg_wal'), 0o555)],
  [
    'archive-get: the spool is read-only',
    (site) => {
      for (const path of [site.in, join(site.spool, 'pgts')]) chmodSync(path, 0o555)
    },
  ],
  ...[
    'pg_wal/RECOVERYHISTORY',
    'RECOVERYXLOG',
    './pg_wal/RECOVERYXLOG',
    '/tmp/RECOVERYXLOG',
    '',
    'pg_wal/',
    'pg_wal/x',
  ].map((target): [string, Change] => [
    `archive-get: to ${JSON.stringify(target)}`,
    () => ['--stanza=main', 'archive-get', SEGMENT, target],
  ]),
  ...['00000002.history', `${SEGMENT}.partial`, `../in/${SEGMENT}`, '00000001000000000000002a', ''].map(
    (file): [string, Change] => [
      `archive-get: of ${JSON.stringify(file)}`,
      () => ['--stanza=main', 'archive-get', file, TARGET],
    ],
  ),
]

function kindOf(command: LaunchCommand): 'push' | 'get' {
  return command === 'archive-push' ? 'push' : 'get'
}

function edit(site: LaunchSite, command: LaunchCommand, change: (text: string) => string): void {
  const before = readFileSync(site.hint(command), 'utf8')
  rewrite(site.hint(command), change)
  if (readFileSync(site.hint(command), 'utf8') === before) throw new Error('the hint was not changed')
}

/** Another text with the same time. */
function rewrite(path: string, change: (text: string) => string): void {
  const { mtimeNs } = statSync(path, { bigint: true })
  writeFileSync(path, change(readFileSync(path, 'utf8')))
  setMtimeNs(path, mtimeNs)
}

function touch(path: string): void {
  utimesSync(path, new Date(), new Date())
}

function copyTime(from: string, to: string): void {
  setMtimeNs(to, statSync(from, { bigint: true }).mtimeNs)
}

// One site for each state, used by each shell: a call that starts Node changes nothing.
describe('the launcher starts Node for', () => {
  test.each(statesForNode)('%s', async (name, change) => {
    const site = new LaunchSite()
    site.archived()
    site.fetched()
    await site.prepare('archive-push', PUSH_PATTERN)
    await site.prepare('archive-get', GET_PATTERN)
    const args = change(site) ?? (name.startsWith('archive-push') ? PUSH : GET)
    const env = { PATH: `${noSleep(site)}:/usr/local/bin:/usr/bin:/bin` }
    const results = await Promise.all(plainShells.map(([, shell]) => site.run(shell, args, { env })))
    for (const result of results) expectNodeCall(args, result)
    if (!name.includes('read-only')) return
    for (const path of [join(site.data, 'pg_wal'), site.in, join(site.spool, 'pgts')]) chmodSync(path, 0o755)
    expect(readFileSync(join(site.in, SEGMENT), 'utf8')).toBe(`fetched ${SEGMENT}`)
  })
})

/** Node is started at once, without waiting. */
function noSleep(site: LaunchSite): string {
  const bin = join(site.dir, 'bin')
  mkdirSync(bin)
  writeFileSync(join(bin, 'sleep'), '#!/bin/sh\necho slept >&2\nexit 1\n')
  chmodSync(join(bin, 'sleep'), 0o755)
  return bin
}

describe.each(shells)('%s detects', (_, shell) => {
  test.each([
    ['another stanza in the environment', { PGTS_STANZA: 'other' }],
    ['another repository', { PGTS_REPO2_PATH: '/x' }],
    ['an option of pgbackrest', { PGBACKREST_SPOOL_PATH: '/x' }],
    ['an empty variable', { PGTS_CONFIG: '' }],
    ['a value with the separator', { PGTS_CONFIG: '|' }],
  ])('%s', async (_, env) => {
    const site = await pushSite()
    expectNodeCall(PUSH, await site.run(shell, PUSH, { env }))
  })

  test('a change of the stanza and of other values in the environment', async () => {
    const environments: Record<string, string>[] = [
      { PGTS_STANZA: 'main', PGBACKREST_REPO1_PATH: '/a b', PGTS_REPO4_HOST: '*' },
      { PGBACKREST_STANZA: 'main' },
    ]
    for (const env of environments) {
      const site = new LaunchSite()
      site.archived()
      expect(await site.prepare('archive-push', ['archive-push', undefined], env)).toBe(true)
      expect(await site.run(shell, ['archive-push', WAL], { env })).toMatchObject(HIT)
      expectNodeCall(['archive-push', WAL], await site.run(shell, ['archive-push', WAL]))
    }
  })

  test('a change of repositories beyond repo4 in the environment', async () => {
    const env = { PGTS_REPO5_HOST: 'a host', PGBACKREST_REPO17_PATH: '/a \'"$HOME`b' }
    const site = new LaunchSite()
    site.archived()
    expect(await site.prepare('archive-push', PUSH_PATTERN, env, [1, 5, 17])).toBe(true)
    expect(await site.run(shell, PUSH, { env })).toMatchObject(HIT)
    expectNodeCall(PUSH, await site.run(shell, PUSH, { env: { ...env, PGTS_REPO5_TYPE: 's3' } }))
    expectNodeCall(PUSH, await site.run(shell, PUSH, { env: { ...env, PGBACKREST_REPO17_PATH: '/other' } }))
    expectNodeCall(PUSH, await site.run(shell, PUSH, { env: { PGTS_REPO5_HOST: 'a host' } }))
  })

  test('another stanza', async () => {
    const site = await pushSite()
    const other = ['--stanza=other', 'archive-push', WAL]
    expectNodeCall(other, await site.run(shell, other))
    expect(await site.run(shell, PUSH)).toMatchObject(HIT)
  })

  test('a clone of the cluster as another cluster', async () => {
    const site = await pushSite()
    const clone = join(site.dir, 'clone')
    execFileSync('cp', ['-a', site.data, clone])
    expectNodeCall(PUSH, await site.run(shell, PUSH, { cwd: clone }))
    expectNodeCall(PUSH, await site.run(shell, PUSH, { cwd: site.dir }))
    // In the place of the original it is detected by its server.
    renameSync(site.data, `${site.data}-old`)
    renameSync(clone, site.data)
    writeFileSync(join(site.data, 'postmaster.pid'), `4711\n${site.data}\n1700000099\n`)
    site.own()
    site.age()
    expectNodeCall(PUSH, await site.run(shell, PUSH))
  })
})

test.each(shells.filter(([name]) => !name.startsWith('busybox')))(
  '%s compares times to the nanosecond',
  async (_, shell) => {
    const site = await pushSite()
    for (const shift of [-1n, 1n]) {
      site.ok(SEGMENT, '', shift)
      expectNodeCall(PUSH, await site.run(shell, PUSH))
    }
  },
)
