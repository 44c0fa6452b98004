import type { Manifest, Owner, OwnerName } from '../../format/manifest.ts'
import { bytesToText } from '../../util/byte-string.ts'
import { describeGroup, describeUser } from '../../util/owner-names.ts'
import type { OwnerIds } from './file-system.ts'

/** The user that runs the restore, and the ids of user and group names on this host. */
export interface OwnerRules {
  readonly uid: number
  readonly gid: number
  /** Undefined if the name does not exist on this host. */
  userId(name: string): number | undefined
  groupId(name: string): number | undefined
  /** Owner of the data directory, if it exists. */
  readonly existing?: OwnerIds
}

export interface Ownership {
  /**
   * Owner to set for a manifest entry: always for root; otherwise undefined, because created files belong to the user
   * already.
   */
  ownerOf(entry: Owner): OwnerIds | undefined
  /** The owner that an existing entry must have. */
  expected(entry: Owner): OwnerIds
  /** Warnings to log before anything is written. */
  readonly warnings: readonly string[]
}

/**
 * Root sets the owner of the manifest for every entry; an unknown name is replaced by the owner of the existing data
 * directory, or root. Another user can only create its own files, so differing owners only cause a warning.
 */
export function decideOwnership(manifest: Manifest, rules: OwnerRules): Ownership {
  const root = rules.uid === 0
  const fallback = rules.existing ?? { uid: rules.uid, gid: rules.gid }
  const users = new Map<OwnerName, number>()
  const groups = new Map<OwnerName, number>()
  const warnings: string[] = []

  const decide = (kind: 'user' | 'group', name: OwnerName, known: Map<OwnerName, number>): void => {
    if (known.has(name)) return
    const id = name === false ? undefined : kind === 'user' ? rules.userId(name) : rules.groupId(name)
    const own = kind === 'user' ? rules.uid : rules.gid
    const instead = kind === 'user' ? fallback.uid : fallback.gid
    const describe = kind === 'user' ? describeUser : describeGroup
    const shown = name === false ? `${kind} without a name` : `${kind} '${bytesToText(name)}'`
    if (root) {
      known.set(name, id ?? instead)
      if (id === undefined)
        warnings.push(`${shown} in the backup does not exist on this host: its files get ${describe(instead)}`)
    } else {
      known.set(name, own)
      if (id !== own) warnings.push(`${shown} in the backup is not the current ${kind}: its files get ${describe(own)}`)
    }
  }
  for (const entries of [manifest.paths, manifest.files, manifest.links]) {
    for (const entry of entries) {
      decide('user', entry.user, users)
      decide('group', entry.group, groups)
    }
  }
  const expected = (entry: Owner): OwnerIds => {
    decide('user', entry.user, users)
    decide('group', entry.group, groups)
    return { uid: users.get(entry.user) ?? rules.uid, gid: groups.get(entry.group) ?? rules.gid }
  }
  return { expected, ownerOf: (entry) => (root ? expected(entry) : undefined), warnings }
}
