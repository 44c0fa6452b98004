import { constants } from 'node:fs'
import { open } from 'node:fs/promises'

/** A password, or why the password file was not used. */
export interface PasswordLookup {
  readonly password?: string
  /** What is wrong with the file, as a hint. */
  readonly problem?: string
}

/** What a line of a password file is compared with. */
export interface PasswordKey {
  /** Any of these matches the host field: the socket directory, and `localhost` for the default one. */
  readonly hosts: readonly string[]
  readonly port: number
  readonly database: string
  readonly user: string
}

/**
 * The password of the first line of a password file that matches. A file that is absent has none.
 * @see PostgreSQL, src/interfaces/libpq/fe-connect.c: passwordFromFile
 */
export async function readPasswordFile(name: string, key: PasswordKey): Promise<PasswordLookup> {
  try {
    // Opening a FIFO would wait for a writer.
    await using file = await open(name, constants.O_RDONLY | constants.O_NONBLOCK)
    const stat = await file.stat()
    if (!stat.isFile()) return { problem: `password file '${name}' is not a plain file; it was ignored` }
    if ((stat.mode & 0o077) !== 0) {
      return { problem: `password file '${name}' was ignored because other users can read it; run: chmod 0600 ${name}` }
    }
    const password = passwordIn(await file.readFile('utf8'), key)
    return password === undefined ? {} : { password }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return {}
    return { problem: `password file '${name}' cannot be read: ${message}` }
  }
}

/** The password of the first line that matches `key`; undefined where none does. Lines: host:port:database:user:password. */
export function passwordIn(text: string, key: PasswordKey): string | undefined {
  for (const raw of text.split('\n')) {
    const line = raw.replace(/\r+$/, '')
    if (line === '' || line.startsWith('#')) continue
    const fields = fieldsOf(line)
    const [host, port, database, user, password] = fields
    if (password === undefined) continue
    const matches =
      key.hosts.some((each) => matchesField(host, each)) &&
      matchesField(port, String(key.port)) &&
      matchesField(database, key.database) &&
      matchesField(user, key.user)
    if (matches) return unescape(password)
  }
  return undefined
}

/** The fields as they are written, escapes included. Text after a fifth colon is not part of the password. */
function fieldsOf(line: string): string[] {
  const fields = ['']
  for (const [part] of line.matchAll(/\\[^]|[^]/g)) {
    if (part === ':') fields.push('')
    else fields[fields.length - 1] += part
  }
  return fields
}

function matchesField(field: string | undefined, value: string): boolean {
  return field === '*' || (field !== undefined && unescape(field) === value)
}

function unescape(field: string): string {
  return field.replace(/\\([^])/g, '$1')
}
