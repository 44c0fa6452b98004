import { readFileSync } from 'node:fs'
import { asBytes, bytesToText, type ByteString } from './byte-string.ts'

/** Names of user and group ids; `false` for an id without name. */
export interface OwnerNames {
  user(uid: number): ByteString | false
  group(gid: number): ByteString | false
}

/**
 * Names on this host: /etc/passwd and /etc/group first, then `getent`, which also uses LDAP and other sources. Each id
 * is looked up once.
 */
export function localOwnerNames(): OwnerNames {
  return { user: lookup('/etc/passwd', 'passwd'), group: lookup('/etc/group', 'group') }
}

/** For messages: `uid 26 (postgres)`; the id alone if it has no name. */
export function describeUser(uid: number): string {
  return describe('uid', uid, names().user(uid))
}

/** For messages: `gid 26 (postgres)`. */
export function describeGroup(gid: number): string {
  return describe('gid', gid, names().group(gid))
}

/** For messages: the effective user of this process. */
export function describeProcessUser(): string {
  const uid = process.geteuid?.()
  return uid === undefined ? 'the user of this process' : `${describeUser(uid)}, the user of this process,`
}

function describe(kind: string, id: number, name: ByteString | false): string {
  return name === false ? `${kind} ${id}` : `${kind} ${id} (${bytesToText(name)})`
}

let known: OwnerNames | undefined

function names(): OwnerNames {
  return (known ??= localOwnerNames())
}

function lookup(file: string, database: string): (id: number) => ByteString | false {
  let names: Map<number, ByteString | false> | undefined
  return (id) => {
    names ??= parse(readText(file))
    let name = names.get(id)
    if (name === undefined) {
      name = askSystem(database, id)
      names.set(id, name)
    }
    return name
  }
}

/** `name:password:id:...` in both files. An id that occurs twice gets its first name, as with getpwuid. */
function parse(text: string): Map<number, string | false> {
  const names = new Map<number, string | false>()
  for (const line of text.split('\n')) {
    const [name, , id] = line.split(':')
    if (name === undefined || name === '' || id === undefined || !/^[0-9]+$/.test(id)) continue
    if (!names.has(Number(id))) names.set(Number(id), asBytes(name))
  }
  return names
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'latin1')
  } catch {
    return '' // some containers have no such file; ids then have no names
  }
}

function askSystem(database: string, id: number): ByteString | false {
  try {
    const answer = process.getBuiltinModule('node:child_process').execFileSync('getent', [database, String(id)], {
      encoding: 'latin1',
      timeout: 5_000,
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const name = answer.split(':')[0]
    return name === undefined || name === '' ? false : asBytes(name)
  } catch {
    return false // exit code 2: not found; or no getent on this system
  }
}
