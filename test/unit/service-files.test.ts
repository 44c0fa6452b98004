import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parseCommandLine } from '../../src/config/argv.ts'
import { isInstalled, makeTestDir, pgtsProgram, projectRoot, testUser } from '../support/processes/test-user.ts'

const files = join(projectRoot, 'scripts/package/files')
const units = readdirSync(join(files, 'systemd'))
const textOf = (name: string) => readFileSync(join(files, 'systemd', name), 'utf8')

test('every timer has its service, and is documented', () => {
  const guide = readFileSync(join(projectRoot, 'docs/guide/systemd.md'), 'utf8')
  for (const unit of units) expect(guide).toContain(unit.replace(/\.(service|timer)$/, ''))
  for (const timer of units.filter((name) => name.endsWith('.timer')))
    expect(units).toContain(timer.replace('.timer', '.service'))
})

test('the command of every service is a command line of pgts', () => {
  const services = units.filter((name) => name.endsWith('.service'))
  for (const name of services) {
    const [, line] = /^ExecStart=\/usr\/bin\/pgts (.*)$/m.exec(textOf(name))!
    expect(() => parseCommandLine(line!.replaceAll('%i', 'main').split(' ')), name).not.toThrow()
  }
})

// PrivateTmp would give the command a lock path of its own: a backup could then run beside another one.
test('no service has a /tmp of its own, where the locks are', () => {
  for (const name of units) expect(textOf(name)).not.toMatch(/PrivateTmp|PrivateMounts|TemporaryFileSystem/)
})

test.skipIf(!isInstalled('systemd-analyze'))('systemd accepts every unit without a warning', () => {
  const dir = makeTestDir('units')
  const names = units.map((unit) => {
    const name = unit.replace('@', '@main')
    writeFileSync(join(dir, name), textOf(unit).replace('/usr/bin/pgts', pgtsProgram()))
    return name
  })
  const service = readFileSync(join(files, 'pgbackrest.service'), 'utf8')
  writeFileSync(join(dir, 'pgbackrest.service'), service.replace('/usr/bin/pgbackrest', pgtsProgram()))
  names.push('pgbackrest.service')
  const { status, stdout, stderr } = spawnSync(
    'systemd-analyze',
    ['verify', '--man=no', ...names.map((name) => `./${name}`)],
    {
      cwd: dir,
      encoding: 'utf8',
      env: { ...process.env, SYSTEMD_UNIT_PATH: `${dir}:` },
    },
  )
  const about = `${stdout}${stderr}`.split('\n').filter((line) => line.includes('pgts'))
  expect({ status, about }).toEqual({ status: 0, about: [] })
})

test.skipIf(!isInstalled('logrotate'))('logrotate rotates the logs', () => {
  const dir = makeTestDir('rotate')
  mkdirSync(join(dir, 'log'))
  writeFileSync(join(dir, 'log/main-backup.log'), 'before\n')
  for (const name of ['pgts', 'pgbackrest']) {
    const conf = readFileSync(join(files, `${name}.logrotate`), 'utf8')
      .replace(`/var/log/${name}/`, `${dir}/log/`)
      .replaceAll('postgres postgres', process.getuid!() === 0 ? 'root root' : `${testUser.name} ${testUser.name}`)
    writeFileSync(join(dir, `${name}.conf`), conf, { mode: 0o644 })
    const { status, stderr } = spawnSync('logrotate', ['-d', join(dir, `${name}.conf`)], { encoding: 'utf8' })
    expect({ status, errors: stderr.match(/^error.*$/gm) }).toEqual({ status: 0, errors: null })
    expect(stderr).toContain('considering log')
  }
})
