import { readFileSync, statSync } from 'node:fs'
import { decodeText, textPath } from '../../util/byte-string.ts'
import { messageOf, PgtsError } from '../../util/error.ts'
import type { CommandContext } from '../context.ts'

type Value = string | number | boolean | readonly string[]

/**
 * The options of repository 1 that this run was given, by the rest of their name (`s3-bucket`). Options that depend on an
 * answer (the access key on the type) are taken from the environment and the file of --init-secrets.
 */
export class GivenOptions {
  readonly #ctx: CommandContext<'init'>
  readonly #secrets: ReadonlyMap<string, string>

  constructor(ctx: CommandContext<'init'>) {
    this.#ctx = ctx
    const path = ctx.options.initSecrets
    this.#secrets = path === undefined ? new Map() : readSecrets(path)
  }

  /** Text of `repo1-<rest>`. */
  repo(rest: string): string | undefined {
    const name = `repo1-${rest}`
    const value = this.all().get(rest)
    if (value !== undefined) return String(value)
    const variable = name.toUpperCase().replaceAll('-', '_')
    const { env } = this.#ctx
    return this.#secrets.get(name) ?? env[`PGTS_${variable}`] ?? env[`PGBACKREST_${variable}`]
  }

  /** Every option of repository 1 that was given and is effective, and all secrets of the file. */
  all(): ReadonlyMap<string, Value> {
    const given = new Map<string, Value>(
      [...this.#secrets].map(([name, value]) => [name.replace(/^repo1-/, ''), value]),
    )
    for (const [member, value] of Object.entries(this.#ctx.options.repo[0] ?? {})) {
      const rest = member.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
      if (member === 'key' || !this.#ctx.isSet(`repo1-${rest}`)) continue
      if (value instanceof Map)
        given.set(
          rest,
          [...(value as ReadonlyMap<string, string>)].map(([key, one]) => `${key}=${one}`),
        )
      else if (value !== undefined) given.set(rest, value as Value)
    }
    return given
  }
}

/** Lines `repo1-s3-key=...`; blank lines and comments are skipped. Errors: [041], [031]. */
function readSecrets(path: string): ReadonlyMap<string, string> {
  let text: string
  try {
    if ((statSync(textPath(path)).mode & 0o007) !== 0) throw tooOpen(path)
    text = decodeText(readFileSync(textPath(path)))
  } catch (cause) {
    if (cause instanceof PgtsError) throw cause
    throw new PgtsError('file-open', `cannot read ${path} (from --init-secrets): ${messageOf(cause)}`, { cause })
  }
  const secrets = new Map<string, string>()
  for (const [at, raw] of text.split('\n').entries()) {
    const line = raw.trim()
    if (line === '' || line.startsWith('#')) continue
    const [, name, value] = /^(repo1-[a-z0-9-]+)\s*=\s*(.+)$/.exec(line) ?? []
    if (name === undefined || value === undefined)
      throw new PgtsError('option-invalid', `${path} line ${at + 1} must be repo1-NAME=VALUE`)
    secrets.set(name, value)
  }
  return secrets
}

function tooOpen(path: string): PgtsError {
  return new PgtsError('option-invalid', `${path} (from --init-secrets) is accessible to other users`, {
    hints: [`run: chmod o-rwx ${path}`],
  })
}
