import { isBackupLabel } from '../../format/backup-label.ts'
import type { BackupType, CompressType, Manifest, ManifestFile } from '../../format/manifest.ts'
import { backupLabelPath, bundleName, copyName, fileRepoName, manifestName } from '../../format/repo-path.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import { removeFiles, removeUnlessDenied } from '../../storage/whole-file.ts'
import { bytesToText } from '../../util/byte-string.ts'
import { toPlainError, type PgtsError } from '../../util/error.ts'
import type { Logger } from '../../util/log.ts'
import { writerVersion } from '../../util/version.ts'
import { loadManifest, type ManifestKey } from '../info-store.ts'
import { labelDirectories } from '../reconcile.ts'
import type { PlannedFile } from './increment.ts'
import { ownRepoName, type BackupInPlan, type CopyPolicy } from './plan.ts'

/** The backup that is about to be made, as far as it decides whether an interrupted one can become it. */
export interface ResumeRequest {
  readonly storage: StorageDriver
  readonly stanza: string
  /** What `newestUnfinished` found. */
  readonly unfinished: string | undefined
  /** backup.info: what decrypts manifests, where the repository is encrypted. */
  readonly key: ManifestKey
  readonly resume: boolean
  readonly type: BackupType
  readonly prior: Manifest | undefined
  readonly compressType: CompressType
  /** PostgreSQL's. */
  readonly catalogVersion: number
  readonly log: Logger
  readonly signal: AbortSignal
}

/** Label of the newest backup directory, when it has no manifest. */
export async function newestUnfinished(
  storage: StorageDriver,
  stanza: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const label = (await labelDirectories(storage, stanza, signal)).at(-1)
  if (label === undefined || !isBackupLabel(label)) return undefined
  return (await storage.stat(manifestName(stanza, label), { signal })) === undefined ? label : undefined
}

/**
 * The newest backup, when it was interrupted and can be continued: made by this version of this program, of the same type,
 * on the same prior, in the same compression. One that cannot be continued is removed.
 *
 * @returns its manifest, with checksums of what had been copied when it was last saved
 */
export async function findResumable(request: ResumeRequest): Promise<Manifest | undefined> {
  const { storage, stanza, unfinished: label, log, signal } = request
  if (label === undefined) return undefined
  const name = manifestName(stanza, label)

  let reason = 'resume is off'
  if (request.resume) {
    if ((await storage.stat(copyName(name), { signal })) === undefined) reason = 'it has no manifest'
    else {
      try {
        const manifest = await loadManifest(storage, stanza, label, request.key, { partial: true, signal })
        const obstacle = obstacleTo(request, manifest)
        if (obstacle === undefined) {
          log.warn({ label }, `interrupted backup ${label} is continued; what it holds is checked before it is used`)
          return manifest
        }
        reason = obstacle
      } catch (error) {
        signal.throwIfAborted()
        reason = toPlainError(error).message
      }
    }
  }
  log[request.resume ? 'warn' : 'info'](
    { label },
    `interrupted backup ${label} cannot be continued and is removed: ${reason}`,
  )
  await removeUnlessDenied(storage.removeTree(backupLabelPath(stanza, label), { signal }), stays(log, label))
  return undefined
}

/** No manifest lists the rest of an interrupted backup, so a file that cannot be removed only takes space. */
function stays(log: Logger, label: string): (error: PgtsError) => void {
  return ({ message }) => log.warn({ label }, `files of the interrupted backup ${label} stay: ${message}`)
}

function obstacleTo(request: ResumeRequest, manifest: Manifest): string | undefined {
  if (manifest.backrestVersion !== writerVersion) return `it was made by ${manifest.backrestVersion}`
  if (manifest.type !== request.type)
    return `its type is ${manifest.type}, and the type of this backup is ${request.type}`
  if (manifest.prior !== request.prior?.label)
    return `it builds on ${manifest.prior ?? 'nothing'}, and this backup on ${request.prior?.label ?? 'nothing'}`
  if (manifest.options.compressType !== request.compressType)
    return `it is compressed by ${manifest.options.compressType}, and this backup by ${request.compressType}`
  if (manifest.db.catalogVersion !== request.catalogVersion) return 'it is of another version of PostgreSQL'
  return undefined
}

/**
 * Take over what an interrupted backup has stored, and remove the rest of it, with all its bundles. Files are used again
 * when size and time are still the same (with `delta`: the size) and they would be stored in the same form now. A worker
 * proves content and stored bytes before it relies on them.
 */
export async function takeOver(
  interrupted: Manifest,
  planned: readonly PlannedFile[],
  options: {
    readonly storage: StorageDriver
    readonly backup: BackupInPlan
    readonly policy: CopyPolicy
    readonly delta: boolean
    readonly log: Logger
    readonly signal: AbortSignal
  },
): Promise<PlannedFile[]> {
  const { storage, backup, policy, signal } = options
  const stored = new Set<string>()
  const path = backupLabelPath(backup.stanza, backup.label)
  for await (const { name } of storage.list(path, { recursive: true, namesOnly: true, signal })) stored.add(name)

  const before = new Map(interrupted.files.map((file) => [file.name, file]))
  const used = new Set<string>()
  const result = planned.map((plan): PlannedFile => {
    const entry = before.get(plan.file.name)
    const repoName = ownRepoName(plan, backup, policy)
    if (entry === undefined || !stored.has(repoName)) return plan
    const { compressType } = interrupted.options
    if (fileRepoName(backup.stanza, entry, backup.label, compressType) !== repoName) return plan
    if (!mayBeUsed(plan, entry, options.delta, policy.pages !== undefined)) return plan
    used.add(repoName)
    return { ...plan, resumed: resumedEntry(plan, entry) }
  })
  await removeUnused(options, stored, used)
  return result
}

function mayBeUsed({ file, action }: PlannedFile, entry: ManifestFile, delta: boolean, checksumPage: boolean): boolean {
  if (action === 'reference' || action === 'empty' || file.sizeBytes === 0 || file.name === CONTROL) return false
  if (entry.checksum === undefined || entry.reference !== undefined || entry.bundleId !== undefined) return false
  if (entry.sizeBytes !== file.sizeBytes || (!delta && entry.timestamp !== file.timestamp)) return false
  // Its pages were checked then, or not, as they are to be now.
  return (entry.checksumPage !== undefined) === (checksumPage && file.pageChecksumApplies)
}

const CONTROL = 'pg_data/global/pg_control'

function resumedEntry({ file }: PlannedFile, entry: ManifestFile): ManifestFile {
  const { mode, user, group, timestamp } = file
  return { ...entry, mode, user, group, timestamp }
}

/** The manifest copy stays, so that the backup can be interrupted again. */
async function removeUnused(
  { storage, backup, log, signal }: { storage: StorageDriver; backup: BackupInPlan; log: Logger; signal: AbortSignal },
  stored: ReadonlySet<string>,
  used: ReadonlySet<string>,
): Promise<void> {
  const bundles = bundleName(backup.stanza, backup.label, 1).slice(0, -'/1'.length)
  const denied = stays(log, backup.label)
  await removeUnlessDenied(storage.removeTree(bundles, { signal }), denied)
  const manifest = copyName(manifestName(backup.stanza, backup.label))
  const unused = [...stored].filter((name) => !used.has(name) && name !== manifest && !name.startsWith(`${bundles}/`))
  for (const name of unused) log.detail(`remove ${bytesToText(name)} of the interrupted backup`)
  await removeUnlessDenied(removeFiles(storage, unused, { signal }), denied)
}
