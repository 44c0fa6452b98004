import { describe, expect, test } from 'vitest'
import { execId } from '../../../src/cli/exec-id.ts'
import { repositoryHost } from '../../../src/cli/remote-host.ts'
import type { Transport } from '../../../src/remote/host.ts'
import { sshArguments } from '../../../src/remote/ssh.ts'
import { failureOf, ini, resolving } from '../config/resolving.ts'

const GLOBAL = `[global]
repo2-host=backup1
repo2-path=/srv/repo
repo2-cipher-type=aes-256-cbc
repo2-cipher-pass=geheimgeheim
repo2-retention-full=2
repo1-path=/local
lock-path=/own/lock
log-path=/own/log
spool-path=/own/spool
io-timeout=9s
`
const MAIN = '[main]\npg1-path=/pg\npg1-port=5555\n'

type Ssh = Extract<Transport, { kind: 'ssh' }>

async function hostFor(line: string, more = ''): Promise<ReturnType<typeof repositoryHost>> {
  return repositoryHost(await resolving(line, ini(`${GLOBAL}${more}${MAIN}`)), 2)
}

describe('the process of a repository host', () => {
  test('is started by the command line of pgbackrest, without secrets and without paths of this host', async () => {
    const host = await hostFor('archive-push --stanza=main --config=/c/x.conf pg_wal/1', 'repo2-host-cmd=pgbackrest\n')
    const { transport } = host!
    expect(sshArguments({ ...(transport as Ssh), host: 'backup1', process: 0 })).toEqual([
      ...['-o', 'LogLevel=error', '-o', 'Compression=no', '-o', 'PasswordAuthentication=no'],
      'pgbackrest@backup1',
      `pgbackrest --exec-id=${execId()} --io-timeout=9s --log-level-console=off --log-level-file=off ` +
        '--log-level-stderr=error --pg1-path=/pg --remote-type=repo --repo2-path=/srv/repo --repo=2 ' +
        '--stanza=main archive-push:remote',
    ])
    expect(JSON.stringify(host)).not.toMatch(/geheim|own/)
  })

  test('is asked for the repository by its number, and for the command and stanza of this one', async () => {
    expect((await hostFor('info --stanza=main'))!.open).toEqual({
      kind: 'repo',
      command: 'info',
      stanza: 'main',
      key: 2,
      execId: execId(),
      ioTimeoutMs: 9000,
      protocolTimeoutMs: 31 * 60_000,
    })
    expect((await hostFor('info'))!.open.stanza).toBeUndefined()
  })

  test('uses the configuration, user, port and client that the options name', async () => {
    const more = 'repo2-host-config=/etc/other.conf\nrepo2-host-user=bob\nrepo2-host-port=2222\ncmd-ssh=/opt/ssh\n'
    const { transport } = (await hostFor('info', more))!
    expect(transport).toMatchObject({ user: 'bob', port: 2222, program: '/opt/ssh' })
    expect((transport as Ssh).args).toContain('--config=/etc/other.conf')
  })

  test('is reached by TLS with the files that the options name, and receives no options', async () => {
    const files = ['cert', 'key', 'ca'].map((name) => `repo2-host-${name}-file=/tls/db1.${name}\n`)
    const { transport } = (await hostFor('info', `repo2-host-type=tls\n${files.join('')}`))!
    expect(transport).toEqual({
      kind: 'tls',
      port: 8432,
      caFile: '/tls/db1.ca',
      caPath: undefined,
      certFile: '/tls/db1.cert',
      keyFile: '/tls/db1.key',
      option: 'repo2-host',
    })
  })

  test('needs a certificate and a key for TLS', async () => {
    const { code, message } = await failureOf('info', ini(`${GLOBAL}repo2-host-type=tls\n${MAIN}`))
    expect(code).toBe('option-required')
    expect(message).toBe('info needs repo2-host-cert-file')
  })
})
