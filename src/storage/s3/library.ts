import { doesIdentityRequireRefresh, isIdentityExpired, memoizeIdentityProvider } from '@smithy/core'
import type { Credentials, FetchedKeys } from './keys/fetched-keys.ts'

/** What AWS's client and the direct requests share. */

/** Returns the credentials, and fetches them again shortly before they expire or with `forceRefresh`. */
export type KeysProvider = (options?: { readonly forceRefresh?: boolean }) => Promise<FetchedKeys>

export function keysProvider(credentials: Credentials): KeysProvider {
  const provider = memoizeIdentityProvider(credentials, isIdentityExpired, doesIdentityRequireRefresh)
  // The client would keep the credentials a second time.
  return Object.assign(provider as KeysProvider, { memoized: true })
}

/** AWS's clients print a notice on stderr on Node 20 at every start; this is their own switch to disable it. */
export function silenceVersionNotice(): void {
  process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true'
}
