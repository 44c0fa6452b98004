import { existsSync } from 'node:fs'
import type { AnyResolved } from '../config/resolve.ts'
import { groupOf, optionNames, optionRow, type OptionName } from '../config/option-table.ts'
import { camel } from '../config/typed-options.ts'

export const REDACTED = '<redacted>'

/** Options that pgBackRest hides although a message about a store needs them: the account and the host of its address. */
const NAMES: readonly OptionName[] = ['repo-azure-account', 'repo-azure-endpoint']

/** Shorter values are parts of other words too often. */
const LEAST_LENGTH = 8

/** Variables of the programs and libraries that pgts and its hooks use. */
const SECRET_VARIABLE = /PASSWORD|PASSPHRASE|SECRET|TOKEN|_KEY$|CIPHER_PASS/

/** Names of fields of a record that pino redacts. */
export function secretFields(): readonly string[] {
  const ofOptions = secretOptions().map((name) => camel(name.slice((groupOf(name) ?? '').length).replace(/^-/, '')))
  return [...new Set([...ofOptions, 'password', 'passphrase', 'token'])]
}

/** The values of secret options and variables of this run, the longest first. The path of a file is no secret, its content may be. */
export function secretsOf(
  { values }: Pick<AnyResolved, 'values'>,
  env: Readonly<Record<string, string | undefined>>,
): readonly string[] {
  const names = new Set<OptionName>(secretOptions())
  const ofOptions = [...values.values()].filter(({ option }) => names.has(option)).map(({ value }) => value)
  const ofVariables = Object.entries(env).flatMap(([name, value]) => (SECRET_VARIABLE.test(name) ? [value] : []))
  const texts = [...ofOptions, ...ofVariables].filter((value) => typeof value === 'string')
  return withSecrets(
    [],
    texts.filter((text) => !isFile(text)),
  )
}

/** Without short ones, the longest first: one secret can be a part of another. */
export function withSecrets(secrets: readonly string[], more: readonly string[]): readonly string[] {
  const long = more.filter((text) => text.length >= LEAST_LENGTH)
  return [...new Set([...secrets, ...long])].sort((a, b) => b.length - a.length)
}

/** Base64 can begin with a slash, too. */
const isFile = (text: string) => text.startsWith('/') && existsSync(text)

/** @param json one record as JSON, in which texts are escaped */
export function withoutSecrets(json: string, secrets: readonly string[]): string {
  return secrets.reduce((text, secret) => text.replaceAll(JSON.stringify(secret).slice(1, -1), REDACTED), json)
}

function secretOptions(): OptionName[] {
  return optionNames.filter((name) => optionRow(name).secret === true && !NAMES.includes(name))
}
