import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { canSwitchUsers, Hosts } from '../../support/hosts/hosts.ts'

describe.runIf(canSwitchUsers)('the key of a PostgreSQL host on the repository host', { timeout: 180_000 }, () => {
  let hosts: Hosts
  beforeAll(async () => {
    hosts = await Hosts.start()
    const { repository } = hosts
    repository.configure({ global: { 'repo1-path': `${repository.dir}/repo` }, main: {}, other: {} })
    for (const name of ['backup/main', 'backup/other']) {
      mkdirSync(join(repository.dir, 'repo', name), { recursive: true })
      repository.write(`repo/${name}/note`, name)
    }
    for (const name of ['backup', 'backup/main', 'backup/other']) repository.give(join(repository.dir, 'repo', name))
  })
  afterAll(() => hosts[Symbol.asyncDispose]())

  /** @param options of the host */
  function configure(host: string, command: string): void {
    hosts.postgres.configure({
      global: {
        'cmd-ssh': `${hosts.postgres.dir}/bin/ssh`,
        'repo1-host': host,
        'repo1-host-user': hosts.repository.user.name,
        'repo1-host-cmd': command,
      },
    })
  }
  const get = (stanza: string, name: string) =>
    hosts.postgres.pgts([...(stanza === '' ? [] : [`--stanza=${stanza}`]), 'repo-get', name])

  test('with the entry of the guide of pgbackrest runs pgts with the arguments of the client', async () => {
    configure('repo-host-forced', 'pgbackrest')
    expect(await get('main', 'backup/other/note')).toMatchObject({ code: 0, stdout: 'backup/other' })
  })

  test('with server:remote and a stanza reads files of this stanza only', async () => {
    // As the forced command of sshd: the command line of the client is ignored.
    configure('repo-host', `${hosts.repository.dir}/bin/pgts server:remote main #`)
    expect(await get('main', 'backup/main/note')).toMatchObject({ code: 0, stdout: 'backup/main' })
    for (const [stanza, name, words] of [
      ['main', 'backup/other/note', 'is denied to the other host'],
      ['other', 'backup/other/note', "access to stanza 'other' is denied to the other host"],
      ['', 'backup/main/note', 'access to commands without a stanza is denied to the other host'],
    ] as const) {
      const { code, stderr } = await get(stanza, name)
      expect(stderr).toContain(words)
      expect(code).toBe(105)
    }
    expect((await hosts.postgres.pgts(['--stanza=main', 'info'])).code).toBe(0)
  })

  test('with server:remote and * reads all files of the repository', async () => {
    configure('repo-host', `${hosts.repository.dir}/bin/pgts server:remote '*' #`)
    expect(await get('', 'backup/other/note')).toMatchObject({ code: 0, stdout: 'backup/other' })
  })

  test('a program there that is not pgts is reported as such', async () => {
    configure('repo-host', 'pgbackrest')
    const { code, stderr } = await get('main', 'backup/main/note')
    expect(code).toBe(39)
    expect(stderr).toContain("the program on 'repo-host' is pgBackRest")
  })
})
