import { bytes, bytesToText, type ByteString } from '../../util/byte-string.ts'
import type { Logger } from '../../util/log.ts'
import {
  RECOVERY_SETTINGS_SINCE,
  recoverySettings,
  settingsText,
  updatedAutoConf,
  type RecoveryPolicy,
  type RestoreType,
} from './recovery.ts'
import { readSmallFile, statEntry, writeSmallFile, type OwnerIds } from './file-system.ts'

export interface RecoveryPlace {
  readonly pgPath: string
  /** Resolved path of postgresql.auto.conf, which may be a link. */
  readonly autoConfPath: ByteString
  /** Major version of PostgreSQL. */
  readonly major: number
  readonly mode: number
  readonly owner: OwnerIds | undefined
  /** Local time as text, for the comments. */
  readonly when: string
}

/** Names in the data directory that `--type=preserve` does not change. */
export function preservedNames(major: number): readonly string[] {
  return major >= RECOVERY_SETTINGS_SINCE
    ? ['postgresql.auto.conf', 'recovery.signal', 'standby.signal']
    : ['recovery.conf']
}

export interface RecoveryFiles {
  /** The file with the settings. */
  readonly file: ByteString
  /** From version 12 on. */
  readonly signalFile?: ByteString
}

export function recoveryFiles(
  type: RestoreType,
  { pgPath, autoConfPath, major }: Pick<RecoveryPlace, 'pgPath' | 'autoConfPath' | 'major'>,
): RecoveryFiles {
  if (major < RECOVERY_SETTINGS_SINCE) return { file: bytes`${pgPath}/recovery.conf` }
  const signalFile = bytes`${pgPath}/${type === 'standby' ? 'standby.signal' : 'recovery.signal'}`
  return { file: autoConfPath, signalFile }
}

/** Writes the recovery configuration: settings and a signal file, or recovery.conf, depending on the version. */
export function writeRecovery(policy: RecoveryPolicy, place: RecoveryPlace, log: Logger): void {
  const modern = place.major >= RECOVERY_SETTINGS_SINCE
  const { file, signalFile } = recoveryFiles(policy.type, place)
  if (policy.type === 'preserve') {
    if (statEntry(file, { follow: true }) === undefined) {
      log.warn(`recovery type is preserve but recovery file does not exist at '${bytesToText(file)}'`)
    }
    return
  }
  const settings = policy.type === 'none' ? undefined : recoverySettings(policy, place.major)
  const write = (path: ByteString, text: string) =>
    writeSmallFile(path, Buffer.from(text, 'latin1'), place.mode, place.owner)

  if (!modern) {
    if (settings === undefined) return
    log.info(`write ${bytesToText(file)}`)
    write(file, settingsText(settings, place.when))
    return
  }
  const existing = readSmallFile(file)?.toString('latin1')
  if (existing === undefined) log.warn('postgresql.auto.conf does not exist -- creating to contain recovery settings')
  log.info(`write ${existing === undefined ? '' : 'updated '}${bytesToText(file)}`)
  write(file, updatedAutoConf(existing, settings, place.when))
  if (settings !== undefined && signalFile !== undefined) write(signalFile, '')
}
