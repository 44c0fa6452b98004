import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

/** Names of user and group ids; `false` where an id has none. */
export interface OwnerNames {
  user(uid: number): string | false
  group(gid: number): string | false
}

/**
 * Names as this host knows them: /etc/passwd and /etc/group first, then `getent`, which also
 * uses LDAP and other sources. Each id is looked up once.
 */
export function localOwnerNames(): OwnerNames {
  return { user: lookup('/etc/passwd', 'passwd'), group: lookup('/etc/group', 'group') }
}

function lookup(file: string, database: string): (id: number) => string | false {
  let names: Map<number, string | false> | undefined
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

/** `name:password:id:...` in both files. An id that occurs twice has its first name, as getpwuid gives it. */
function parse(text: string): Map<number, string | false> {
  const names = new Map<number, string | false>()
  for (const line of text.split('\n')) {
    const [name, , id] = line.split(':')
    if (name === undefined || name === '' || id === undefined || !/^[0-9]+$/.test(id)) continue
    if (!names.has(Number(id))) names.set(Number(id), name)
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

function askSystem(database: string, id: number): string | false {
  try {
    const answer = execFileSync('getent', [database, String(id)], {
      encoding: 'latin1',
      timeout: 5_000,
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const name = answer.split(':')[0]
    return name === undefined || name === '' ? false : name
  } catch {
    return false // exit code 2: not found; or no getent on this system
  }
}
