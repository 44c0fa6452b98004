import { PgtsError } from '../../util/error.ts'

/** Stanzas that a client may use; `all` includes commands without a stanza. */
export type AllowedStanzas = 'all' | ReadonlySet<string>

/** By the common name of the client's certificate. */
export type Rights = ReadonlyMap<string, AllowedStanzas>

/**
 * The values of tls-server-auth: `CN=stanza1,stanza2` or `CN=*`.
 *
 * @throws PgtsError option-invalid-value
 */
export function parseRights(auth: ReadonlyMap<string, string>): Rights {
  return new Map([...auth].map(([name, text]) => [name, parseStanzas(text, `tls-server-auth of '${name}'`)] as const))
}

/** @param what is named in the error @throws PgtsError option-invalid-value */
export function parseStanzas(text: string, what: string): AllowedStanzas {
  const stanzas = text.split(',').map((stanza) => stanza.trim())
  if (stanzas.includes('')) {
    throw new PgtsError('option-invalid-value', `${what} has an empty name of a stanza`, {
      hints: ['write stanzas separated by commas, or * for all'],
    })
  }
  return stanzas.includes('*') ? 'all' : new Set(stanzas)
}

/** @param stanza '' for a command without a stanza */
export function isAllowed(stanza: string, allowed: AllowedStanzas | undefined): boolean {
  return allowed === 'all' || (allowed !== undefined && stanza !== '' && allowed.has(stanza))
}
