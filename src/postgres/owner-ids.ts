import { readFileSync } from 'node:fs'

/** Ids of user and group names (byte strings); undefined if the name does not exist on this host. */
export interface OwnerIdLookup {
  userId(name: string): number | undefined
  groupId(name: string): number | undefined
}

/** /etc/passwd and /etc/group first, then `getent`, which also uses LDAP and other sources. Each name is looked up once. */
export function localOwnerIds(): OwnerIdLookup {
  return { userId: lookup('/etc/passwd', 'passwd'), groupId: lookup('/etc/group', 'group') }
}

function lookup(file: string, database: string): (name: string) => number | undefined {
  let ids: Map<string, number | undefined> | undefined
  return (name) => {
    ids ??= parse(readText(file))
    if (!ids.has(name)) ids.set(name, parse(ask(database, name)).get(name))
    return ids.get(name)
  }
}

/** `name:password:id:...` in both files and in getent's answers; the first entry of a name is used. */
function parse(text: string): Map<string, number | undefined> {
  const ids = new Map<string, number | undefined>()
  for (const line of text.split('\n')) {
    const [name = '', , id = ''] = line.split(':')
    if (name !== '' && /^[0-9]+$/.test(id) && !ids.has(name)) ids.set(name, Number(id))
  }
  return ids
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'latin1')
  } catch {
    return '' // some containers have no such file
  }
}

function ask(database: string, name: string): string {
  // getent would take a number for an id, and a dash for an option.
  if (!/^[A-Za-z_\x80-\xff]/.test(name)) return ''
  try {
    return process.getBuiltinModule('node:child_process').execFileSync('getent', [database, name], {
      encoding: 'latin1',
      timeout: 5_000,
      stdio: ['ignore', 'pipe', 'ignore'],
    })
  } catch {
    return '' // not found, or no getent on this system
  }
}
