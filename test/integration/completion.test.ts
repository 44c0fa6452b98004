import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { helpTopics } from '../../src/cli/render/help-topics.ts'
import { commandNames, commandRow } from '../../src/config/command-table.ts'
import { isInstalled, makeTestDir } from '../support/postgres/postgres.ts'
import { pgtsProgram } from '../support/processes/test-user.ts'

const dir = makeTestDir('completion')
const scriptOf = (shell: string) => join(dir, shell)

function pgts(...args: string[]) {
  return spawnSync(pgtsProgram(), args, { encoding: 'utf8', env: { PATH: process.env['PATH'], PGTS_CONFIG: '/none' } })
}

beforeAll(() => {
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { stdout, stderr, status } = pgts('completion', shell)
    expect({ stderr, status }).toEqual({ stderr: '', status: 0 })
    writeFileSync(scriptOf(shell), stdout)
  }
})

/** The words that bash offers for the last of `words`. */
function inBash(...words: string[]): string[] {
  const script = `set -u; source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _pgts; printf '%s\\n' "\${COMPREPLY[@]}"`
  const { stdout, stderr } = spawnSync('bash', ['-c', script, scriptOf('bash'), 'pgts', ...words], { encoding: 'utf8' })
  expect(stderr).toBe('')
  return stdout.split('\n').filter(Boolean)
}

describe('the completion of bash', () => {
  test('offers the commands of help', () => {
    expect(inBash('')).toEqual(commandNames.filter((name) => isOffered(name)))
    expect(inBash('--stanza', '=', 'main', '--delta', 'rest')).toEqual(['restore'])
    expect(inBash('--stanza', 'main', 'ba')).toEqual(['backup'])
  })

  const isOffered = (name: (typeof commandNames)[number]) => commandRow(name).internal !== true

  // Words as bash divides them: `=` is a word of its own.
  test.each([
    ['the options of the command', 'backup --ty', '--type='],
    ['negated options', 'backup --no-start', '--no-start-fast'],
    ['no option of another command', 'check --type', ''],
    ['the options of all commands before a command', '--start', '--start-fast'],
    ['another index of a repository', 'backup --repo2-pat', '--repo2-path='],
    ['the values of the command', 'backup --type =', 'full incr diff'],
    ['the rest of a value', 'restore --type = im', 'immediate'],
    ['a value without =', 'restore --target-action pr', 'promote'],
    ['a value in the same word', 'backup --type=f', '--type=full'],
    ['the values of an indexed option', 'backup --repo2-cipher-type = a', 'aes-256-cbc'],
    ['paths', `--repo1-path = ${dir}/ba`, `${dir}/bash`],
    ['the configuration file', `--config = ${dir}/fi`, `${dir}/fish`],
    ['situations of help', 'help lost', 'lost-server'],
    ['options of help', 'help backup compress-', 'compress-level compress-type'],
    ['nothing after a situation', 'help lost-server comp', ''],
    ['the shells', 'completion z', 'zsh'],
    ['no secret that the command line refuses', 'backup --repo1-cipher-p', ''],
  ])('offers %s', (_, line, expected) => {
    expect(inBash(...line.split(' ')).join(' ')).toBe(expected)
  })

  test('offers every situation of help', () => {
    expect(inBash('help', '')).toEqual(expect.arrayContaining(Object.keys(helpTopics)))
  })
})

test('the line for ~/.bashrc in the guide enables the completion', () => {
  const line = /^source .*completion bash.*$/m.exec(readFileSync('docs/guide/install.md', 'utf8'))![0]
  const PATH = `${dirname(pgtsProgram())}:${process.env['PATH']}`
  const { stdout } = spawnSync('bash', ['-c', `${line}; complete -p pgts`], { encoding: 'utf8', env: { PATH } })
  expect(stdout).toBe('complete -F _pgts pgts\n')
})

test.each(['bash', 'zsh', 'fish'])('the script for %s is valid where the shell is installed', (shell) => {
  if (!isInstalled(shell)) return
  const { stderr, status } = spawnSync(shell, ['-n', scriptOf(shell)], { encoding: 'utf8' })
  expect({ stderr, status }).toEqual({ stderr: '', status: 0 })
})

test.skipIf(!isInstalled('fish'))('the completion of fish offers options, values and situations', () => {
  const offered = (line: string) => {
    const script = `source ${scriptOf('fish')}; complete -C '${line}'`
    const { stdout } = spawnSync('fish', ['--no-config', '-c', script], { encoding: 'utf8' })
    return stdout.split('\n').flatMap((row) => (row === '' ? [] : [row.split('\t')[0]]))
  }
  expect(offered('pgts backup --type=f')).toEqual(['--type=full'])
  expect(offered('pgts --stanza main backup --start-f')).toEqual(['--start-fast'])
  expect(offered('pgts help dro')).toEqual(['dropped-table'])
  expect(offered('pgts expire --ty')).toEqual([])
})

test('an unknown shell is refused with the shells that are known', () => {
  const { stderr, status } = pgts('completion', 'tcsh')
  expect(status).toBe(96)
  expect(stderr).toContain("invalid shell 'tcsh'")
  expect(stderr).toContain('pgts completion bash|zsh|fish')
})
