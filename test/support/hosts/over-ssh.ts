import { join } from 'node:path'
import { openRemoteStorage } from '../../../src/storage/remote/open.ts'
import type { RemoteStorage } from '../../../src/storage/remote/driver.ts'
import { silentLogger } from '../../../src/util/log.ts'
import { Hosts } from './hosts.ts'
import { OPEN_REPO } from './over-connection.ts'

let started: Promise<Hosts> | undefined
let roots = 0

/** An empty repository on a disk, served by a process that sshd starts. */
export async function overSsh(): Promise<RemoteStorage> {
  const { postgres, repository } = await (started ??= Hosts.start())
  const { process: _, ...open } = OPEN_REPO
  const options = [
    '--exec-id=1-00000000',
    '--log-level-console=off',
    '--log-level-file=off',
    '--log-level-stderr=error',
  ]
  const what = ['--remote-type=repo', '--repo=1', `--repo1-path=${join(repository.dir, `repo/${++roots}`)}`]
  const host = {
    host: 'repo-host',
    hostCommandOption: 'repo1-host-cmd',
    transport: {
      kind: 'ssh',
      program: join(postgres.dir, 'bin/ssh'),
      user: repository.user.name,
      command: join(repository.dir, 'bin/pgts'),
      args: [...options, ...what, '--stanza=main', 'info:remote'],
    },
    open,
  } as const
  return openRemoteStorage(host, silentLogger)
}

export async function endSsh(): Promise<void> {
  await (await started)?.[Symbol.asyncDispose]()
}
