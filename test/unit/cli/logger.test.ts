import { execFileSync, spawn } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createLogger, logError } from '../../../src/cli/logger.ts'
import { type LoggerOptions } from '../../../src/cli/log-destination.ts'
import { secretsOf } from '../../../src/cli/log-secrets.ts'
import type { OptionName } from '../../../src/config/option-table.ts'
import { PgtsError } from '../../../src/util/error.ts'
import type { LogLevel } from '../../../src/util/log.ts'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'pgts-log-'))
})
afterEach(() => rmSync(directory, { recursive: true }))

const NOW = new Date(2026, 0, 2, 3, 4, 5, 78).getTime()

function logger(levels: Partial<LoggerOptions['levels']>, more: Partial<LoggerOptions> = {}) {
  const out = { stdout: '', stderr: '' }
  const log = createLogger({
    levels: { console: 'off', file: 'off', stderr: 'off', ...levels },
    timestamp: true,
    processMax: 1,
    stdout: { write: (text) => void (out.stdout += text) },
    stderr: { write: (text) => void (out.stderr += text) },
    now: () => NOW,
    ...more,
  })
  return { log, out }
}

describe('log lines', () => {
  test('have the form of their level', () => {
    const { log, out } = logger({ console: 'trace' })
    log.error({ code: 55 }, 'archive.info is missing')
    log.warn('retention is not set')
    log.info('backup complete')
    log.detail('store /pg/base/1')
    log.debug('planned')
    log.trace('read')
    expect(out.stdout).toBe(
      [
        '2026-01-02 03:04:05.078 P00  ERROR: [055]: archive.info is missing',
        '2026-01-02 03:04:05.078 P00   WARN: retention is not set',
        '2026-01-02 03:04:05.078 P00   INFO: backup complete',
        '2026-01-02 03:04:05.078 P00 DETAIL: store /pg/base/1',
        '2026-01-02 03:04:05.078 P00  DEBUG:     planned',
        '2026-01-02 03:04:05.078 P00  TRACE:         read',
        '',
      ].join('\n'),
    )
  })

  test('after the first are indented by four columns at a terminal, and only there', () => {
    let shown = ''
    const file = join(directory, 'terminal.log')
    const stdout = { isTerminal: true, write: (text: string) => void (shown += text) }
    const { log, out } = logger({ console: 'info', file: 'info' }, { stdout, logFile: file })
    logError(log, new PgtsError('file-missing', 'one', { hints: ['two'] }))
    expect(shown).toBe('2026-01-02 03:04:05.078 P00  ERROR: [055]: one\n    HINT: two\n')
    expect(readFileSync(file, 'utf8')).toContain(`\n${' '.repeat(36)}HINT: two\n`)
    expect(out).toEqual({ stdout: '', stderr: '' })
  })

  test('after the first begin in the column of the text, whatever the level', () => {
    const { log, out } = logger({ console: 'debug' })
    log.error({ code: 55 }, 'one\ntwo')
    log.debug('one\n\ntwo')
    expect(out.stdout).toBe(
      [
        '2026-01-02 03:04:05.078 P00  ERROR: [055]: one',
        '                                    two',
        '2026-01-02 03:04:05.078 P00  DEBUG:     one',
        '                                        ',
        '                                        two',
        '',
      ].join('\n'),
    )
  })

  test('have no timestamp with log-timestamp=n, and show worker numbers and a dry run', () => {
    const { log, out } = logger({ console: 'info' }, { timestamp: false, dryRun: true })
    log.info({ process: 12 }, 'one\ntwo')
    expect(out.stdout).toBe('P12   INFO: [DRY-RUN] one\n            two\n')
    const wide = logger({ console: 'info' }, { timestamp: false, processMax: 100 })
    wide.log.info({ process: 7 }, 'one')
    expect(wide.out.stdout).toBe('P007   INFO: one\n')
  })

  test('show percent signs, braces and non-ASCII text unchanged, and no fields of the record', () => {
    const { log, out } = logger({ console: 'info' }, { timestamp: false })
    log.info({ sizeBytes: 5n, label: 'x', msg: 'no', level: 'no', time: 3 }, '100% of %s {} naïve Übung')
    expect(out.stdout).toBe('P00   INFO: 100% of %s {} naïve Übung\n')
  })

  test('on stderr have no time, no process number and no alignment', () => {
    const { log, out } = logger({ stderr: 'info' })
    log.warn('one\ntwo')
    log.error({ code: 38 }, 'one\ntwo')
    log.info({ process: 3 }, 'done')
    expect(out.stderr).toBe('WARN: one\n      two\nERROR: [038]: one\n       two\nINFO: done\n')
  })

  test('of an assert error have the level ASSERT', () => {
    const { log, out } = logger({ stderr: 'error' })
    logError(log, new PgtsError('assert', 'impossible'))
    logError(log, new TypeError('x is undefined'))
    expect(out.stderr).toBe('ASSERT: [025]: impossible\nASSERT: [025]: x is undefined\n')
  })
})

describe('the sinks of a record', () => {
  const all = (log: ReturnType<typeof logger>['log']) => {
    log.error('e')
    log.warn('w')
    log.info('i')
    log.detail('d')
  }
  test.each([
    { console: 'warn', stderr: 'warn', shownOut: [], shownErr: ['ERROR', 'WARN'] },
    { console: 'info', stderr: 'warn', shownOut: ['INFO'], shownErr: ['ERROR', 'WARN'] },
    { console: 'info', stderr: 'off', shownOut: ['ERROR', 'WARN', 'INFO'], shownErr: [] },
    { console: 'off', stderr: 'error', shownOut: [], shownErr: ['ERROR'] },
    { console: 'off', stderr: 'off', shownOut: [], shownErr: [] },
    { console: 'error', stderr: 'detail', shownOut: [], shownErr: ['ERROR', 'WARN', 'INFO', 'DETAIL'] },
  ] as const)('console $console, stderr $stderr', ({ console, stderr, shownOut, shownErr }) => {
    const { log, out } = logger({ console, stderr }, { timestamp: false })
    all(log)
    const words = (text: string) => [...text.matchAll(/([A-Z]+): .$/gm)].map((match) => match[1])
    expect(words(out.stdout)).toEqual(shownOut)
    expect(words(out.stderr)).toEqual(shownErr)
  })

  test.each<[LogLevel, LogLevel, LogLevel, string[]]>([
    ['off', 'off', 'off', []],
    ['warn', 'off', 'error', ['error', 'warn']],
    ['off', 'detail', 'off', ['error', 'warn', 'info', 'detail']],
  ])('enabled() agrees with what is written: console %s, file %s, stderr %s', (console, file, stderr, expected) => {
    const { log } = logger({ console, file, stderr }, { logFile: join(directory, 'x.log') })
    const levels = ['error', 'warn', 'info', 'detail', 'debug', 'trace'] as const
    expect(levels.filter((level) => log.enabled(level))).toEqual(expected)
  })

  test('do not include a file when there is none, whatever its level', () => {
    expect(logger({ file: 'trace' }).log.enabled('error')).toBe(false)
  })
})

describe('the log file', () => {
  test('begins with a banner, is appended to after a blank line, and has mode 0640', () => {
    const logFile = join(directory, 'main-backup.log')
    const before = process.umask(0)
    try {
      for (const text of ['first', 'second']) {
        const { log } = logger({ file: 'info' }, { logFile })
        log.info(text)
        log.warn(text)
        log.detail('unseen')
        log.close()
      }
    } finally {
      process.umask(before)
    }
    const run = (text: string) =>
      `-------------------PROCESS START-------------------\n2026-01-02 03:04:05.078 P00   INFO: ${text}\n2026-01-02 03:04:05.078 P00   WARN: ${text}\n`
    expect(readFileSync(logFile, 'utf8')).toBe(`${run('first')}\n${run('second')}`)
    expect(statSync(logFile).mode & 0o7777).toBe(0o640)
  })

  test('is created by its first line, with its directory', () => {
    const logFile = join(directory, 'deep/main-backup.log')
    const { log } = logger({ file: 'warn' }, { logFile })
    log.info('unseen')
    expect(() => statSync(logFile)).toThrow('ENOENT')
    log.warn('seen')
    expect(statSync(logFile).isFile()).toBe(true)
  })

  test('that cannot be opened causes one warning, and the run continues', () => {
    writeFileSync(join(directory, 'plain'), '')
    const { log, out } = logger(
      { console: 'info', stderr: 'warn', file: 'info' },
      { timestamp: false, logFile: join(directory, 'plain/main.log') },
    )
    log.info('one')
    log.info('two')
    expect(out.stdout).toBe('P00   INFO: one\nP00   INFO: two\n')
    expect(out.stderr).toMatch(/^WARN: cannot write the log file \S+plain\/main\.log: ENOTDIR.*\n {6}HINT: check .*\n$/)
  })

  test('on a full disk causes one warning, and the run continues', () => {
    const { log, out } = logger({ stderr: 'warn', file: 'info' }, { logFile: '/dev/full' })
    log.info('one')
    log.info('two')
    expect(out.stderr).toMatch(/^WARN: cannot write the log file \/dev\/full: ENOSPC/)
    expect(out.stderr.match(/WARN/g)).toHaveLength(1)
  })

  test('in a directory of another user causes one warning', () => {
    mkdirSync(join(directory, 'closed'))
    chmodSync(join(directory, 'closed'), 0o500)
    // Root may write everywhere, so this test runs as the user `nobody`.
    const asRoot = process.geteuid?.() === 0
    if (asRoot) process.seteuid?.(65534)
    try {
      const { log, out } = logger({ stderr: 'warn', file: 'info' }, { logFile: join(directory, 'closed/main.log') })
      log.info('one')
      expect(out.stderr).toMatch(/^WARN: .*EACCES/)
    } finally {
      if (asRoot) process.seteuid?.(0)
    }
  })
})

describe('a logged error', () => {
  const cause = new Error('inner')
  const error = new PgtsError('file-missing', 'cannot read archive.info', {
    hints: ['run stanza-create', 'compare repo1-path'],
    cause,
  })

  test('shows code, message and hints', () => {
    const { log, out } = logger({ console: 'info' })
    logError(log, error)
    expect(out.stdout).toBe(
      [
        '2026-01-02 03:04:05.078 P00  ERROR: [055]: cannot read archive.info',
        '                                    HINT: run stanza-create',
        '                                    HINT: compare repo1-path',
        '',
      ].join('\n'),
    )
  })

  test('shows its stack only in sinks at level debug', () => {
    const logFile = join(directory, 'main.log')
    const { log, out } = logger({ stderr: 'warn', file: 'debug' }, { logFile })
    logError(log, error)
    expect(out.stderr).toBe(
      'ERROR: [055]: cannot read archive.info\n       HINT: run stanza-create\n       HINT: compare repo1-path\n',
    )
    const text = readFileSync(logFile, 'utf8')
    expect(text).toMatch(/\n {36}STACK TRACE:\n {36} +at .*logger\.test\.ts/)
    expect(text).toMatch(/\n {36}CAUSED BY: inner\n/)
  })

  test('that is not an Error is shown, too', () => {
    const { log, out } = logger({ stderr: 'error' })
    logError(log, 'a string')
    expect(out.stderr).toBe('ERROR: [125]: a string\n')
  })
})

describe('lines in JSON', () => {
  const origin = { command: 'backup', stanza: 'main' }
  const json = (more: Partial<LoggerOptions> = {}) => logger({ console: 'info' }, { format: 'json', origin, ...more })
  const time = new Date(NOW).toISOString()

  test('have time, level, process, command, stanza, message and fields', () => {
    const { log, out } = json()
    log.info({ label: '20260102-030405F', sizeBytes: 5n, process: 3 }, 'backup complete')
    expect(out.stdout.endsWith('}\n')).toBe(true)
    expect(JSON.parse(out.stdout)).toEqual({
      time,
      level: 'info',
      pid: process.pid,
      worker: 3,
      command: 'backup',
      stanza: 'main',
      message: 'backup complete',
      fields: { label: '20260102-030405F', sizeBytes: 5 },
    })
  })

  test('have code, name and hints of an error, and its stack at level debug', () => {
    const logFile = join(directory, 'main.log')
    const { log, out } = logger({ stderr: 'error', file: 'debug' }, { format: 'json', origin, logFile })
    logError(log, new PgtsError('file-missing', 'one\ntwo', { hints: ['three', 'four'] }))
    const line = JSON.parse(out.stderr) as Record<string, unknown>
    expect(line).toMatchObject({ level: 'error', code: 55, message: 'one\ntwo', hints: ['three', 'four'] })
    expect(line['fields']).toEqual({ error: 'file-missing' })
    expect(line).not.toHaveProperty('stack')
    expect(JSON.parse(readFileSync(logFile, 'utf8'))).toMatchObject({
      stack: expect.stringMatching(/^STACK TRACE:\n +at /) as string,
    })
  })

  test('are single lines of printable text, whatever a message contains', () => {
    const { log, out } = json()
    const message = 'a\nb\r\u2028c\u0000\u001b[31m\u009b"\\\ud800'
    log.info(message)
    log.info('HINT: alone')
    expect(out.stdout).toMatch(/^[^\u0000-\u0009\u000b-\u001f\u007f-\u009f]+$/)
    const lines = out.stdout.trimEnd().split('\n')
    expect(lines.map((line) => (JSON.parse(line) as { message: string }).message)).toEqual([message, 'HINT: alone'])
  })

  test('are the only lines of a log file, also after a file in text', () => {
    const logFile = join(directory, 'main-backup.log')
    for (const text of ['first', 'second']) {
      const { log } = logger({ file: 'info' }, { format: 'json', logFile })
      log.info(text)
      log.close()
    }
    const lines = readFileSync(logFile, 'utf8').trimEnd().split('\n')
    expect(lines.map((line) => (JSON.parse(line) as { message: string }).message)).toEqual(['first', 'second'])
  })

  test('have the command with which the log continues', () => {
    const { log, out } = json()
    log.continueAs('expire', '/unused')
    log.info('one')
    expect(JSON.parse(out.stdout)).toMatchObject({ command: 'expire', stanza: 'main' })
  })

  test('mark a dry run, and have no empty stanza', () => {
    const { log, out } = json({ dryRun: true, origin: { command: 'info', stanza: '' } })
    log.info('one')
    expect(JSON.parse(out.stdout)).toMatchObject({ dryRun: true })
    expect(JSON.parse(out.stdout)).not.toHaveProperty('stanza')
  })
})

describe('secrets', () => {
  const secret = 'wq0t7B1s"SxDieQ\\fA8'
  const settings: [OptionName, string][] = [
    ['repo-cipher-pass', secret],
    ['repo-s3-key-secret', 'short'],
    ['repo-gcs-key', import.meta.filename],
    ['repo-azure-key', '/base64/that+begins+with+a+slash='],
    ['repo-azure-account', 'companybackups'],
    ['repo-path', '/var/lib/pgts'],
  ]
  const values = new Map(
    settings.map(([option, value]) => {
      const origin = { typed: [value], source: 'file', origin: 'file', negated: false, reset: false } as const
      return [option as string, { name: option, option, key: 1, value, ...origin }]
    }),
  )
  const found = secretsOf({ values }, { PGPASSWORD: 'postgres-password', HOME: '/root/home', AWS_TOKEN: undefined })

  test('are the values of secret options and variables, without files, short words and names of accounts', () => {
    expect(found).toEqual(['/base64/that+begins+with+a+slash=', secret, 'postgres-password'])
  })

  test.each(['text', 'json'] as const)('are redacted in messages and fields in the form %s', (format) => {
    const { log, out } = logger({ console: 'info' }, { format, secrets: () => found })
    log.warn(
      { said: [secret], cipherPass: 'x', nested: { s3KeySecret: 'y' } },
      `hook said: ${secret} postgres-password`,
    )
    expect(out.stdout).toContain('hook said: <redacted> <redacted>')
    expect(out.stdout).not.toContain('wq0t7B1s')
    if (format === 'json') {
      const fields = { said: ['<redacted>'], cipherPass: '<redacted>', nested: { s3KeySecret: '<redacted>' } }
      expect(JSON.parse(out.stdout)).toMatchObject({ fields })
    }
  })

  test('that are learned later are redacted in further messages, unless they are short', () => {
    const { log, out } = logger({ console: 'info' }, { timestamp: false, secrets: () => found })
    log.info('first postgres-password')
    log.learnSecret('postgres-password-of-host-b')
    log.learnSecret('main')
    log.info('main postgres-password-of-host-b postgres-password')
    expect(out.stdout).toBe('P00   INFO: first <redacted>\nP00   INFO: main <redacted> <redacted>\n')
  })
})

describe('a log that continues in another file', () => {
  test('writes further lines there, below a banner of its own', () => {
    const [first, second] = [join(directory, 'main-backup.log'), join(directory, 'main-expire.log')]
    const { log } = logger({ file: 'info' }, { logFile: first, timestamp: false })
    log.info('backup command end')
    log.continueAs('expire', second)
    log.info('expire command begin')
    const banner = '-------------------PROCESS START-------------------\n'
    expect(readFileSync(first, 'utf8')).toBe(`${banner}P00   INFO: backup command end\n`)
    expect(readFileSync(second, 'utf8')).toBe(`${banner}P00   INFO: expire command begin\n`)
  })

  test('writes to no file when there was none before', () => {
    const { log } = logger({ file: 'info' })
    log.continueAs('expire', join(directory, 'main-expire.log'))
    log.info('expire command begin')
    expect(readdirSync(directory)).toEqual([])
  })
})

describe('a process with a log', () => {
  const script = `
    const { createLogger, descriptorOutput } = await import(process.argv[1])
    const levels = { console: 'info', file: 'off', stderr: 'warn' }
    const log = createLogger({ levels, timestamp: false, processMax: 1, stdout: descriptorOutput(1), stderr: descriptorOutput(2) })
    for (let i = 0; i < 20000; i++) log.info('line ' + i)
    log.warn('still here')
    process.exit(7)`
  let bundle: string
  beforeEach(async () => {
    const { build } = await import('esbuild')
    bundle = join(process.cwd(), `node_modules/.pgts-logger-${process.pid}.mjs`)
    await build({
      entryPoints: ['src/cli/logger.ts'],
      outfile: bundle,
      bundle: true,
      format: 'esm',
      platform: 'node',
      packages: 'external',
    })
  })
  afterEach(() => rmSync(bundle))

  test('that exits at once loses no line', () => {
    let text = ''
    try {
      execFileSync(process.execPath, ['--input-type=module', '-e', script, bundle], { encoding: 'utf8', stdio: 'pipe' })
    } catch (error) {
      text = (error as { stdout: string }).stdout
    }
    expect(text.split('\n')).toHaveLength(20_001)
    expect(text.endsWith('P00   INFO: line 19999\n')).toBe(true)
  })

  test('whose reader has closed the pipe continues and has the same exit code', async () => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', script, bundle], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let stderr = ''
    child.stderr.on('data', (data: Buffer) => (stderr += data.toString()))
    child.stdout.once('data', () => child.stdout.destroy())
    const code = await new Promise((resolve) => child.on('close', resolve))
    expect(code).toBe(7)
    expect(stderr).toBe('WARN: still here\n')
  })
})
