import { byteString, choice, field, nothing, nullable, record } from '../../remote/fields.ts'
import type { Handler } from '../../remote/connection.ts'
import { onCall } from '../../remote/handlers.ts'
import { callVerb } from '../../remote/verb.ts'
import { asBytes } from '../../util/byte-string.ts'
import type { Repository } from '../repository.ts'

/** The encryption of a repository, for a host whose configuration has none. Encoded only here: never log the answer. */
export const cipherVerb = callVerb(
  'cipher',
  nothing,
  record({
    cipher: field(
      1,
      nullable(record({ type: field(1, choice({ 'aes-256-cbc': 0 })), passphrase: field(2, byteString) })),
    ),
  }),
)

export function cipherHandler({ cipher }: Repository): Handler {
  return onCall(cipherVerb, async () => ({
    cipher: cipher === undefined ? null : { type: cipher.type, passphrase: asBytes(cipher.passphrase()) },
  }))
}
