import { mkdtempSync, rmSync, writeFileSync, mkdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { resolveOptions } from '../../../src/config/resolve.ts'
import { failureOf, resolving } from './resolving.ts'

const CONF = '[global]\nrepo1-path=/from/conf\n'
const files = {
  '/etc/pgts/pgts.yaml': 'global: { repo: [{ path: /from/yaml }] }',
  '/etc/pgbackrest/pgbackrest.conf': CONF,
  '/c/x.conf': '[global]\nrepo1-path=/from/x\n',
  '/c/x.yml': 'global: { repo: [{ path: /from/x.yml }] }',
  '/c/pgbackrest.conf': '[global]\nrepo1-path=/from/c\n',
  '/c/conf.d/a.conf': '[global]\nrepo2-path=/from/a\n',
  '/c/conf.d/b.conf': '[global]\nrepo3-path=/from/b\n',
  '/c/conf.d/readme.txt': 'not read',
  '/y/pgts.yaml': 'global: { repo: [{ path: /from/y }] }',
}

async function paths(
  line: string,
  some: Record<string, string> = files,
  env: Record<string, string> = {},
  program = '/usr/bin/pgts',
): Promise<unknown> {
  const { dialect, options } = await resolving(`info ${line}`, { files: some, env, program })
  return `${dialect}: ${(options as unknown as { repo: { path: string }[] }).repo.map(({ path }) => path).join(' ')}`
}

describe('the location of the configuration', () => {
  test.each([
    ['', 'yaml: /from/yaml'],
    ['--config=/c/x.conf', 'ini: /from/x'],
    ['--config=/c/x.yml', 'yaml: /from/x.yml'],
    ['--config=/c/x.conf --config-path=/c', 'ini: /from/x /from/a /from/b'],
    ['--config=/c/x.conf --config-include-path=/c/conf.d', 'ini: /from/x /from/a /from/b'],
    ['--config-include-path=/c/conf.d', 'ini: /from/conf /from/a /from/b'],
    ['--config-path=/c', 'ini: /from/c /from/a /from/b'],
    ['--config-path=/y', 'yaml: /from/y'],
    ['--config-path=/nowhere', 'yaml: /var/lib/pgts'],
    ['--no-config', 'yaml: /var/lib/pgts'],
    ['--no-config --config-include-path=/c/conf.d', 'ini: /from/a /from/b'],
    ['--no-config --config-path=/c', 'ini: /from/a /from/b'],
  ])('%s reads %s', async (line, expected) => {
    expect(await paths(line)).toBe(expected)
  })

  const both = { ...files, '/etc/pgbackrest.conf': '[global]\nrepo1-path=/from/old\n' }
  const { '/etc/pgbackrest/pgbackrest.conf': _, ...oldOnly } = both
  const included = { '/etc/pgts/pgts.yaml': '{}', '/etc/pgbackrest/conf.d/a.conf': '[global]\nrepo1-path=/included\n' }
  test.each([
    ['', both, 'ini: /from/conf'],
    ['', oldOnly, 'ini: /from/old'],
    ['', included, 'ini: /included'],
    ['', {}, 'ini: /var/lib/pgbackrest'],
    ['--config-path=/y', files, 'ini: /var/lib/pgbackrest'],
    ['--config-path=/c', both, 'ini: /from/c /from/a /from/b'],
    ['--no-config', both, 'ini: /var/lib/pgbackrest'],
    ['--config=/c/x.yml', files, 'yaml: /from/x.yml'],
  ])('under the name pgbackrest, %j with the files %j is %s', async (line, some, expected) => {
    expect(await paths(line, some, {}, '/opt/bin/pgbackrest')).toBe(expected)
  })

  test.each(['/usr/bin/pgbackrest-new', '/opt/pgbackrest/bin/pgts', 'pgts'])(
    'depends only on the last part of %s',
    async (program) => {
      expect(await paths('', {}, {}, program)).toBe('yaml: /var/lib/pgts')
    },
  )

  test('does not change the defaults of the program name when there is no file', async () => {
    const defaults = async (program: string) => {
      const env = { PGBACKREST_STANZA: 'main', PGBACKREST_PG1_PATH: '/pg' }
      const { options } = await resolving('backup', { env, program })
      const { compressType, logPath, lockPath, repo } = options as unknown as Record<string, unknown>
      const [{ path, bundle, block } = {}] = repo as Record<string, unknown>[]
      return { compressType, logPath, lockPath, path, bundle, block }
    }
    expect(await defaults('/usr/bin/pgbackrest')).toEqual({
      compressType: 'gz',
      logPath: '/var/log/pgbackrest',
      lockPath: '/tmp/pgbackrest',
      path: '/var/lib/pgbackrest',
      bundle: false,
      block: false,
    })
    expect(await defaults('/usr/bin/pgts')).toMatchObject({ compressType: 'zst', path: '/var/lib/pgts', bundle: true })
  })

  test('can be set by variables; an option has precedence', async () => {
    expect(await paths('', files, { PGTS_CONFIG: '/c/x.conf' })).toBe('ini: /from/x')
    expect(await paths('', files, { PGBACKREST_CONFIG: '/c/x.conf' })).toBe('ini: /from/x')
    expect(await paths('', files, { PGBACKREST_CONFIG: '/c/x.conf', PGTS_CONFIG: '/c/x.yml' })).toBe(
      'yaml: /from/x.yml',
    )
    expect(await paths('--config=/c/x.yml', files, { PGTS_CONFIG: '/c/x.conf' })).toBe('yaml: /from/x.yml')
    expect(await paths('--no-config', files, { PGTS_CONFIG: '/c/x.conf' })).toBe('yaml: /var/lib/pgts')
  })

  test('of a pgbackrest.conf is not searched under the name pgts', async () => {
    expect(await paths('', { '/etc/pgbackrest/pgbackrest.conf': CONF })).toBe('yaml: /var/lib/pgts')
  })

  test.each([
    ['--config=/no.conf', 'file-missing', "unable to open missing file '/no.conf' for read"],
    ['--config-include-path=/no', 'path-missing', 'directory /no of config-include-path does not exist'],
    ['--config=/c/x.yml --config-include-path=/c/conf.d', 'option-invalid', 'cannot be used with /c/x.yml'],
    ['--config-path=c', 'option-invalid-value', 'config-path'],
  ])('with %s is refused', async (line, code, words) => {
    const error = await failureOf(`info ${line}`, { files })
    expect(error.code).toBe(code)
    expect(error.message).toContain(words)
  })

  test('the same option in one section of two files is a repetition', async () => {
    const twice = { ...files, '/c/conf.d/b.conf': '[global]\nrepo2-path=/again\n' }
    const error = await failureOf('info --config-path=/c', { files: twice })
    expect(error).toMatchObject({ code: 'option-invalid' })
    expect(error.message).toContain('/c/conf.d/b.conf line 2: repo2-path is set twice')
  })
})

test('configuration files are read from disk, directories in order, and errors name the file', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'pgts-config-'))
  try {
    mkdirSync(join(folder, 'conf.d'))
    writeFileSync(join(folder, 'pgbackrest.conf'), '[global]\nrepo1-path=/a\n')
    writeFileSync(join(folder, 'conf.d', 'z.conf'), '[global]\nrepo2-path=/b\n')
    const base = { env: {}, program: '/p', uid: 1 }
    const resolved = await resolveOptions({ ...base, argv: ['info', `--config-path=${folder}`] })
    expect(resolved.options).toMatchObject({ repo: [{ path: '/a' }, { path: '/b' }] })
    const directory = resolveOptions({ ...base, argv: ['info', `--config=${folder}`] })
    await expect(directory).rejects.toMatchObject({ code: 'file-open', message: expect.stringContaining(folder) })
  } finally {
    rmSync(folder, { recursive: true })
  }
})
