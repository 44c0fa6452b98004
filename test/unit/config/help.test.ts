import { parseCommandLine } from '../../../src/config/argv.ts'
import { rowFor } from '../../../src/config/option-table.ts'
import { helpExamples } from '../../../src/cli/render/help-examples.ts'
import { helpTopics } from '../../../src/cli/render/help-topics.ts'
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { referencePages } from '../../../scripts/reference/render.ts'
import { runProgram } from '../../../src/cli/program.ts'
import { PGBACKREST_LEVEL, versionText } from '../../../src/util/version.ts'
import { commandNames, commandRow } from '../../../src/config/command-table.ts'
import { fakeFiles, type Surroundings } from './resolving.ts'

async function output(line: string, around: Surroundings = {}): Promise<string> {
  let text = ''
  const files = fakeFiles(around.files, around.mode)
  const base = {
    argv: line.split(' ').filter(Boolean),
    env: around.env ?? {},
    program: around.program ?? '/usr/bin/pgts',
    uid: 0,
    files,
  }
  expect(
    await runProgram({ ...base, stdout: { write: (more) => void (text += more) } }, () =>
      Promise.reject(new Error('no command')),
    ),
  ).toBe(0)
  return text
}

describe('help', () => {
  test('lists the commands', async () => {
    const text = await output('help')
    expect(text).toContain('stanza-create   Prepare the repositories for a cluster.')
    expect(text).not.toContain('repo-put')
    expect(await output('')).toBe(text)
    expect(await output('--help')).toBe(text)
  })

  test.each(['', ...commandNames])('of command %j fits into 80 columns', async (command) => {
    const around = {
      env: { PGTS_REPO1_PATH: `/${'very-long-path/'.repeat(2)}x`, PGTS_PG2_PATH: '/pg2', PGTS_EXCLUDE: 'a:b:c' },
    }
    for (const line of (await output(`help ${command}`, around)).split('\n'))
      expect(line.length).toBeLessThanOrEqual(80)
  })

  test('of a command shows defaults and the values in effect', async () => {
    const files = { '/etc/pgts/pgts.yaml': 'global: { process-max: 4, repo: [{ path: /a }, { path: /b }] }' }
    const text = (await output('backup --help --stanza=main', { files })).replace(/\n {10,}/g, ' ')
    expect(text).toContain('[default: auto, now: 4]')
    expect(text).toContain('[default: /var/lib/pgts, now: /a, repo2-path: /b]')
    expect(text).toContain('[default: none, must be set, now: main]')
    expect(text).not.toContain('--repo1-sftp-host')
  })

  test('of an option shows its description, type, default, range and origin', async () => {
    const env = { PGTS_COMPRESS_LEVEL: '7', PGBACKREST_CONFIG: '/c/x.conf' }
    const text = await output('help backup compress-level', { env, files: { '/c/x.conf': '' } })
    expect(text).toMatch(/^--compress-level=<number>\n\nCompression level/)
    expect(text).toContain('now:        7 (from PGTS_COMPRESS_LEVEL)')
    expect(text).toContain('variable:   PGTS_COMPRESS_LEVEL')
    expect(await output('help backup repo-path')).toContain('old names:  repo-path')
    expect(await output('help backup repo1-path')).toContain('default:    /var/lib/pgts\n')
  })

  test.each(['/usr/bin/pgts', '/usr/bin/pgbackrest'])(
    'of %s can be parsed by the bash completion of pgbackrest',
    async (program) => {
      const words = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].map((found) => found[1])
      const name = program.slice(program.lastIndexOf('/') + 1)
      // awk '/^[[:space:]]+/ {print $1}'
      const commands = words(await output('', { program }), /^[ \t]+(\S+)/gm)
      expect(commands).toEqual(commandNames.filter((command) => commandRow(command).internal !== true))
      // awk '/^\*[[:space:]]/ {print $2}'
      const values = async (line: string) => words(await output(line, { program }), /^\*\s+(\S+)/gm)
      expect(await values('help backup type')).toEqual(['full', 'incr', 'diff'])
      expect(await values('help info output')).toEqual(['text', 'json'])
      expect(await values('help backup log-level-console')).toEqual([
        'off',
        'error',
        'warn',
        'info',
        'detail',
        'debug',
        'trace',
      ])
      const sizes = /^Allowed values(.*\n.*)/m.exec(await output('help backup buffer-size', { program }))?.[1] ?? ''
      expect(words(sizes, /(\w+)[,.](?=\s|$)/g)).toEqual([
        ...['16KiB', '32KiB', '64KiB', '128KiB', '256KiB', '512KiB', '1MiB', '2MiB', '4MiB', '8MiB', '16MiB'],
      ])
      expect(await output('', { program })).toContain(`Usage: ${name} COMMAND`)
      expect(await output('help backup', { program })).toContain(`More: ${name} help backup OPTION`)
    },
  )

  test('shows the defaults of pgbackrest under its name, also when its configuration is invalid', async () => {
    const program = '/usr/bin/pgbackrest'
    const broken: Record<string, string> = { '/etc/pgbackrest/pgbackrest.conf': 'broken' }
    for (const files of [{}, broken]) {
      expect(await output('help backup repo-path', { program, files })).toContain('default:    /var/lib/pgbackrest\n')
      expect(await output('help backup compress-type', { program, files })).toContain('default:    gz\n')
    }
  })

  test('of a command shows how each option is written, and examples that the parser accepts', async () => {
    const text = await output('help backup')
    expect(text).toMatch(/^ {2}--\[no-\]start-fast /m)
    expect(text).toMatch(/^ {2}--compress-level=VALUE /m)
    expect(text).toContain('Examples:\n  pgts --stanza=main backup\n')
    // Clients parse the names of options under the name pgbackrest.
    const theirs = await output('help backup', { program: '/usr/bin/pgbackrest' })
    expect(theirs).toMatch(/^ {2}--start-fast /m)
    expect(theirs).not.toMatch(/=VALUE|Examples|\[no-\]/)
  })

  test('of a topic fits into 80 columns', async () => {
    for (const name of Object.keys(helpTopics)) {
      const lines = (await output(`help ${name}`)).split('\n')
      for (const line of lines) expect(line.length).toBeLessThanOrEqual(80)
    }
    expect(await output('help')).toContain(
      'Topics: lost-server, dropped-table, disk-full, archive-command, from-pgbackrest\n',
    )
    expect(await output('help', { program: '/usr/bin/pgbackrest' })).not.toContain('Topics')
  })

  test.each([
    ...Object.values(helpExamples).flat(),
    ...Object.values(helpTopics).flatMap(({ text }) => text.replaceAll('\\\n', '').match(/(?<=^ {2})pgts .*/gm) ?? []),
  ])('has the valid command line %s', (line) => {
    const words = line.match(/(?:'[^']*'|"[^"]*"|\S)+/g)!.map((word) => word.replaceAll(/['"]/g, ''))
    const parsed = parseCommandLine(words.slice(1))
    for (const { option } of parsed.settings) {
      expect(rowFor(option, parsed.command), `${option} for ${parsed.command}`).toBeDefined()
    }
  })

  test('never shows a secret', async () => {
    const env = { PGTS_REPO1_CIPHER_PASS: 'geheim', PGTS_REPO1_CIPHER_TYPE: 'aes-256-cbc' }
    expect(await output('help backup repo1-cipher-pass', { env })).toContain('<redacted> (from PGTS_REPO1_CIPHER_PASS)')
    for (const line of ['help backup', 'help backup repo1-cipher-pass']) {
      expect(await output(line, { env })).not.toContain('geheim')
    }
  })

  test('works when the configuration is invalid', async () => {
    const text = await output('help backup', { files: { '/etc/pgts/pgts.yaml': 'globl: 1' } })
    expect(text).toContain('Back up a cluster.')
    expect(text).toContain('Values in effect are unknown: /etc/pgts/pgts.yaml line 1:1')
  })

  test.each([
    ['help nothing', 'command-invalid', 'there is no command nothing'],
    ['help backup proces-max', 'option-invalid', 'there is no option proces-max'],
    ['help info process-max', 'option-invalid', 'option process-max is not valid for command info'],
  ])('%s is refused', async (line, code, words) => {
    await expect(output(line)).rejects.toMatchObject({ code, message: expect.stringContaining(words) })
  })
})

test('version is text or one number for scripts', async () => {
  expect(await output('version')).toMatch(/^pgts \d+\.\d+\.\d+\S*\n$/)
  expect(versionText('num', 'pgts', '1.20.3')).toBe('1020003')
  const program = '/usr/bin/pgbackrest'
  expect(await output('version', { program })).toBe(`pgBackRest ${PGBACKREST_LEVEL}\n`)
  const [major = 0, minor = 0, patch = 0] = PGBACKREST_LEVEL.split('.').map(Number)
  expect(await output('version --output=num', { program })).toBe(String(major * 1_000_000 + minor * 1000 + patch))
  expect(await output('version --output=num')).toMatch(/^\d+$/)
})

test.each([
  ['archive-get', ['seg', '-x']],
  ['restore', []],
])('%s is dispatched with its options, and the return value is the exit code', async (line, given) => {
  const argv = [line, '--stanza=main', '--pg1-path=/pg', '--', ...given]
  const input = { argv, env: {}, program: '/p', uid: 1, files: fakeFiles(), stdout: { write: () => undefined } }
  const code = await runProgram(input, async ({ command, options, parameters }) => {
    expect({ command, stanza: options.stanza, parameters }).toEqual({
      command: line,
      stanza: 'main',
      parameters: given,
    })
    return 1
  })
  expect(code).toBe(1)
})

test.each(Object.entries(referencePages()))('docs/reference/%s is what the tables generate', (name, text) => {
  const committed = readFileSync(new URL(`../../../docs/reference/${name}`, import.meta.url), 'utf8')
  expect(committed, 'npm run reference writes it again').toBe(text)
})
