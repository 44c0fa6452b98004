import { expect, test } from 'vitest'
import { restartCommand, restartText } from '../../../../src/core/init/restart.ts'

const server = {
  pid: 100,
  dataDirectory: '/var/lib/pgsql/17/data',
  configFile: '/var/lib/pgsql/17/data/postgresql.conf',
  binDirectory: '/usr/pgsql-17/bin',
  parentArgs: ['/usr/lib/systemd/systemd'],
}
const all = () => true

test('a service of systemd is restarted by systemctl, with sudo unless root asks', () => {
  const command = restartCommand({ ...server, service: 'postgresql-17.service' }, all)
  expect(command).toMatchObject({ as: 'root', runnable: true })
  expect(restartText(command, true, 'postgres')).toBe('systemctl restart postgresql-17')
  expect(restartText(command, false, 'postgres')).toBe('sudo systemctl restart postgresql-17')
})

test('a cluster of Debian without a service is restarted by pg_ctlcluster', () => {
  const command = restartCommand({ ...server, configFile: '/etc/postgresql/17/main/postgresql.conf' }, all)
  expect(restartText(command, true, 'postgres')).toBe('pg_ctlcluster 17 main restart')
})

test('another server is restarted by its pg_ctl, as its owner, with its log file', () => {
  const command = restartCommand({ ...server, logFile: '/var/log/pg 17.log' }, all)
  expect(restartText(command, false, 'postgres')).toBe(
    "/usr/pgsql-17/bin/pg_ctl restart -w -m fast -D /var/lib/pgsql/17/data -l '/var/log/pg 17.log'",
  )
  expect(restartText(command, true, 'postgres')).toMatch(/^runuser -u postgres -- \/usr\/pgsql-17\/bin\/pg_ctl /)
})

test('a server of Patroni and the first process of a container are not restarted by pgts', () => {
  const patroni = restartCommand({ ...server, parentArgs: ['python3', '/usr/bin/patroni', '/etc/patroni.yml'] }, all)
  expect(patroni).toMatchObject({ command: 'patronictl', runnable: false })
  expect(restartCommand({ ...server, pid: 1 }, all)).toMatchObject({ command: 'docker', runnable: false })
})
