import type { Manifest } from '../../format/manifest.ts'
import type { ForcedVersion } from '../../postgres/cluster-access.ts'
import { parseControlFile } from '../../postgres/control-file.ts'
import { bytes, bytesToText } from '../../util/byte-string.ts'
import type { Logger } from '../../util/log.ts'
import { COPY_MARK } from '../cluster-copy/copy-mark-path.ts'
import { checkPlaces, refuseOtherCluster } from './check-target.ts'
import { MANIFEST_NAME } from './finish.ts'
import { layOut, type Layout } from './layout.ts'
import { decideOwnership, type Ownership, type OwnerRules } from './owners.ts'
import { planRestore, type ExistingFiles, type RestorePlan } from './plan.ts'
import type { RestoreType } from './recovery.ts'
import { remap, type RemapPolicy } from './remap.ts'
import { withoutSkipped } from './restorable.ts'
import { scanTargets } from './scan-targets.ts'
import { selectDatabases, type DatabaseChoice } from './selective.ts'
import { makeDirectoryTree, realPath, statEntry, type OwnerIds } from './file-system.ts'
import { preservedNames } from './write-recovery.ts'

export interface TargetRequest extends ForcedVersion {
  /** As stored in the repository. */
  readonly manifest: Manifest
  readonly remap: RemapPolicy
  readonly databases: DatabaseChoice
  readonly existing: ExistingFiles
  readonly type: RestoreType
  /** Major version of PostgreSQL. */
  readonly major: number
  readonly owners: Omit<OwnerRules, 'existing'>
  readonly log: Logger
  /** Runs a check of the target; throws its error, or records it for a dry run. */
  check(check: () => void): void
}

/** Everything that is decided before any file of the old cluster is changed. */
export interface PreparedTarget {
  /** Remapped, without the files that this restore omits. */
  readonly manifest: Manifest
  readonly layout: Layout
  readonly ownership: Ownership
  readonly plan: RestorePlan
  /** For files that the restore creates itself. */
  readonly own: { readonly mode: number; readonly owner: OwnerIds | undefined }
  /** Creates the data directory if it does not exist. */
  createDataDirectory(): void
}

/**
 * Decides where everything is restored, with which owners and by which actions, and checks that this is allowed.
 * Changes nothing. Throws the errors of remap, layOut, selectDatabases and
 * the checks of the target.
 */
export function prepareTarget(request: TargetRequest): PreparedTarget {
  const { log, existing, major } = request
  const { label, db } = request.manifest
  const { pgPath } = request.remap
  const remapped = remap(request.manifest, request.remap)
  for (const { level, message } of remapped.notes) log[level](message)
  const layout = layOut(remapped.manifest, realPath)

  const directory = statEntry(pgPath, { follow: true })
  const rules = { ...request.owners, existing: directory }
  const ownership = decideOwnership(remapped.manifest, rules)
  for (const message of ownership.warnings) log.warn(message)

  const selection = selectDatabases(remapped.manifest, request.databases)
  if (selection !== undefined) {
    log.info(`databases restored as zeroed files, to be dropped after recovery: ${selection.shown.join(', ')}`)
  } else if (request.databases.include.length > 0) log.info('nothing to filter: all user databases are selected')

  const preserved = request.type === 'preserve' ? preservedNames(major) : []
  const skip = new Set([MANIFEST_NAME, COPY_MARK, ...preserved].map((name) => bytes`${pgPath}/${name}`))
  request.check(() => refuseOtherCluster(pgPath, existing, { label, systemId: db.systemId }, systemIdReader(request)))
  request.check(() =>
    checkPlaces(layout, existing, rules.uid, skip, (path) => log.detail(`check '${bytesToText(path)}' exists`)),
  )

  const manifest = withoutSkipped(remapped.manifest, preserved, (message) => log.detail(message))
  const data = manifest.paths.find(({ name }) => name === 'pg_data')!
  const own = { mode: data.mode & 0o644, owner: ownership.ownerOf(data) }
  const createDataDirectory = () => {
    if (directory === undefined) makeDirectoryTree(pgPath, data.mode, own.owner)
  }
  // pg_control is removed first, and handled separately.
  const untouched = new Set([...skip, bytes`${pgPath}/global/pg_control`])
  const found = scanTargets(manifest, layout, untouched, existing.delta && existing.force)
  const plan = planRestore(manifest, layout, found, existing, selection?.isZeroed)
  return { manifest, layout, ownership, plan, own, createDataDirectory }
}

/** Reads pg_control; undefined if the file is corrupt: then it identifies no cluster. */
export function systemIdReader({ versionForce }: ForcedVersion): (control: Buffer) => bigint | undefined {
  return (control) => {
    try {
      return parseControlFile(control, { versionForce }).systemId
    } catch {
      return undefined
    }
  }
}
