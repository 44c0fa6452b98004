import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync } from 'node:fs'
import { testUser, type TestUser } from '../processes/test-user.ts'

/** Two hosts on one machine are two users; without root there is only this one. */
export const canSwitchUsers = process.getuid!() === 0

/** A system user of this machine, which is created if it is missing. For tests in a container, as root. */
export function systemUser(name: string): TestUser {
  const found = findUser(name)
  if (found === undefined)
    execFileSync('useradd', [
      '--system',
      '--user-group',
      '--no-create-home',
      '--home-dir',
      '/',
      '--shell',
      '/bin/sh',
      name,
    ])
  allowLogin(name)
  return found ?? findUser(name)!
}

/** sshd refuses a user whose password is locked, also with a key; `*` is no password, but not locked. */
export function allowLogin(name: string): void {
  const password = readFileSync('/etc/shadow', 'utf8').match(new RegExp(`^${name}:([^:]*):`, 'm'))?.[1]
  if (password?.startsWith('!') === true) execFileSync('usermod', ['--password', '*', name])
}

function findUser(name: string): TestUser | undefined {
  if (name === testUser.name) return testUser
  const row = readFileSync('/etc/passwd', 'utf8').match(new RegExp(`^${name}:[^:]*:(\\d+):(\\d+):`, 'm'))
  return row === null ? undefined : { name, uid: Number(row[1]), gid: Number(row[2]), switched: true }
}

/** sshd needs it, and packages leave its creation to systemd. */
export function makePrivilegeSeparationDirectory(): void {
  mkdirSync('/run/sshd', { recursive: true, mode: 0o755 })
}
