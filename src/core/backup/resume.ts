import type { BackupInfo } from '../../format/backup-info.ts'
import { isBackupLabel } from '../../format/backup-label.ts'
import type { BackupType, CompressType, Manifest, ManifestFile } from '../../format/manifest.ts'
import { backupLabelPath, bundleName, copyName, fileRepoName, manifestName } from '../../format/repo-path.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import { removeFiles, removeUnlessDenied } from '../../storage/whole-file.ts'
import { asBytes, bytes, bytesToText } from '../../util/byte-string.ts'
import { messageOf, type PgtsError } from '../../util/error.ts'
import type { Logger } from '../../util/log.ts'
import { writerVersion } from '../../util/version.ts'
import type { ManifestKey } from '../info-cipher.ts'
import { loadManifest } from '../manifest-store.ts'
import { labelDirectories } from '../reconcile.ts'
import type { PlannedFile } from './increment.ts'
import type { PlannedFiles } from './planned-files.ts'
import { PriorFiles } from './prior-files.ts'
import { ownRepoName, type BackupInPlan, type CopyPolicy } from './plan.ts'

/** The properties of the new backup that decide whether an interrupted backup can be resumed as it. */
export interface ResumeRequest {
  readonly storage: StorageDriver
  readonly stanza: string
  /** Result of `newestUnfinished`. */
  readonly unfinished: string | undefined
  /** backup.info: decrypts manifests in an encrypted repository. */
  readonly key: ManifestKey
  readonly resume: boolean
  readonly type: BackupType
  readonly prior: Manifest | undefined
  readonly compressType: CompressType
  /** Catalog version of PostgreSQL. */
  readonly catalogVersion: number
  readonly log: Logger
  readonly signal: AbortSignal
}

/**
 * Label of the newest backup directory, if it has no manifest. @param info reconciled: the backups in it have manifests
 */
export async function newestUnfinished(
  storage: StorageDriver,
  stanza: string,
  info: Pick<BackupInfo, 'backups'>,
  signal: AbortSignal,
): Promise<string | undefined> {
  const label = (await labelDirectories(storage, stanza, signal)).at(-1)
  if (label === undefined || !isBackupLabel(label)) return undefined
  if (info.backups.some((backup) => backup.label === label)) return undefined
  return (await storage.stat(manifestName(stanza, label), { signal })) === undefined ? label : undefined
}

/**
 * The newest backup, if it was interrupted and can be resumed: made by this version of this program, of the same type,
 * on the same prior backup, with the same compression. A backup that cannot be resumed is removed.
 *
 * @returns its manifest, with the checksums of the files that were copied when it was last saved
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
        const mismatch = reasonAgainstResume(request, manifest)
        if (mismatch === undefined) {
          log.warn({ label }, `resume interrupted backup ${label}: its files are verified before they are used`)
          return manifest
        }
        reason = mismatch
      } catch (error) {
        signal.throwIfAborted()
        reason = messageOf(error)
      }
    }
  }
  log[request.resume ? 'warn' : 'info'](
    { label },
    `interrupted backup ${label} cannot be resumed and is removed: ${reason}`,
  )
  await removeUnlessDenied(storage.removeTree(backupLabelPath(stanza, label), { signal }), logNotRemoved(log, label))
  return undefined
}

/** Logs a file that cannot be removed: no manifest lists it, so it only takes space. */
function logNotRemoved(log: Logger, label: string): (error: PgtsError) => void {
  return ({ message }) => log.warn({ label }, `cannot remove files of the interrupted backup ${label}: ${message}`)
}

function reasonAgainstResume(request: ResumeRequest, manifest: Manifest): string | undefined {
  if (manifest.backrestVersion !== writerVersion) return `it was made by ${manifest.backrestVersion}`
  if (manifest.type !== request.type)
    return `its type is ${manifest.type}, and the type of this backup is ${request.type}`
  if (manifest.prior !== request.prior?.label)
    return `its prior backup is ${manifest.prior ?? 'none'}, and that of this backup ${request.prior?.label ?? 'none'}`
  if (manifest.options.compressType !== request.compressType)
    return `it is compressed by ${manifest.options.compressType}, and this backup by ${request.compressType}`
  if (manifest.db.catalogVersion !== request.catalogVersion) return 'it is from another version of PostgreSQL'
  return undefined
}

/**
 * Plans to use the files that an interrupted backup has stored, and removes those that cannot be used, with all its
 * bundles. A file can be used if its size and time are unchanged (with `delta`: its size) and it would be stored in the
 * same form now. A worker verifies content and stored bytes before it uses them.
 */
export async function takeOver(
  interrupted: Manifest,
  planned: PlannedFiles,
  options: {
    readonly storage: StorageDriver
    readonly backup: BackupInPlan
    readonly policy: CopyPolicy
    readonly delta: boolean
    readonly log: Logger
    readonly signal: AbortSignal
  },
): Promise<void> {
  const { storage, backup, policy, signal } = options
  const stored = new Set<string>()
  const path = backupLabelPath(backup.stanza, backup.label)
  for await (const { name } of storage.list(path, { recursive: true, namesOnly: true, signal })) stored.add(name)

  const before = new PriorFiles(interrupted.files)
  const used = new Set<string>()
  for (const plan of planned) {
    const entry = before.find(plan.file.name)?.file
    const repoName = ownRepoName(plan, backup, policy)
    if (entry === undefined || !stored.has(repoName)) continue
    const { compressType } = interrupted.options
    if (fileRepoName(backup.stanza, entry, backup.label, compressType) !== repoName) continue
    if (!mayBeUsed(plan, entry, options.delta, policy.pages !== undefined)) continue
    used.add(repoName)
    planned.resume(plan.index, resumedEntry(plan, entry))
  }
  await removeUnused(options, stored, used)
}

function mayBeUsed({ file, action }: PlannedFile, entry: ManifestFile, delta: boolean, checksumPage: boolean): boolean {
  if (action === 'reference' || action === 'empty' || file.sizeBytes === 0 || file.name === CONTROL) return false
  if (entry.checksum === undefined || entry.reference !== undefined || entry.bundleId !== undefined) return false
  if (entry.sizeBytes !== file.sizeBytes || (!delta && entry.timestamp !== file.timestamp)) return false
  // Its pages must have been checked, or not checked, as they would be now.
  return (entry.checksumPage !== undefined) === (checksumPage && file.pageChecksumApplies)
}

const CONTROL = 'pg_data/global/pg_control'

function resumedEntry({ file }: PlannedFile, entry: ManifestFile): ManifestFile {
  const { mode, user, group, timestamp } = file
  return { ...entry, mode, user, group, timestamp }
}

/** Keeps the manifest copy, so that the backup can be interrupted and resumed again. */
async function removeUnused(
  { storage, backup, log, signal }: { storage: StorageDriver; backup: BackupInPlan; log: Logger; signal: AbortSignal },
  stored: ReadonlySet<string>,
  used: ReadonlySet<string>,
): Promise<void> {
  const bundles = bundleName(backup.stanza, backup.label, 1).slice(0, -'/1'.length)
  const denied = logNotRemoved(log, backup.label)
  await removeUnlessDenied(storage.removeTree(bundles, { signal }), denied)
  const manifest = copyName(manifestName(backup.stanza, backup.label))
  const unused = [...stored].filter(
    (name) => !used.has(name) && name !== manifest && !name.startsWith(bytes`${bundles}/`),
  )
  for (const name of unused) log.detail(`remove ${bytesToText(asBytes(name))} of the interrupted backup`)
  await removeUnlessDenied(removeFiles(storage, unused, { signal }), denied)
}
