import type { Rule } from './rule.ts'
import { archiveBackground } from './rules/archive-background.ts'
import { archiveCommand } from './rules/archive-command.ts'
import { archiveCopy } from './rules/archive-copy.ts'
import { archiveDropped } from './rules/archive-dropped.ts'
import { archiveFailing } from './rules/archive-failing.ts'
import { archiveLibrary } from './rules/archive-library.ts'
import { archiveMode } from './rules/archive-mode.ts'
import { archiveStopped } from './rules/archive-stopped.ts'
import { archiveTimeout } from './rules/archive-timeout.ts'
import { archiveWaiting } from './rules/archive-waiting.ts'
import { backupAge } from './rules/backup-age.ts'
import { backupInterrupted } from './rules/backup-interrupted.ts'
import { backupMissing } from './rules/backup-missing.ts'
import { backupPageErrors } from './rules/backup-page-errors.ts'
import { certificate } from './rules/certificate.ts'
import { clock } from './rules/clock.ts'
import { configExposed } from './rules/config-exposed.ts'
import { configUnreadable } from './rules/config-unreadable.ts'
import { configWarnings } from './rules/config-warnings.ts'
import { dataChecksums } from './rules/data-checksums.ts'
import { diskSpace } from './rules/disk-space.ts'
import { drillAge } from './rules/drill-age.ts'
import { fsync } from './rules/fsync.ts'
import { fullAge } from './rules/full-age.ts'
import { idleSlot } from './rules/idle-slot.ts'
import { pendingRestart } from './rules/pending-restart.ts'
import { pgWalSize } from './rules/pg-wal-size.ts'
import { postgresVersion } from './rules/postgres-version.ts'
import { repositoryLags } from './rules/repository-lags.ts'
import { repositoryPermissions } from './rules/repository-permissions.ts'
import { repositoryUnreadable } from './rules/repository-unreadable.ts'
import { retention } from './rules/retention.ts'
import { slotLimit } from './rules/slot-limit.ts'
import { spool } from './rules/spool.ts'
import { staleLock } from './rules/stale-lock.ts'
import { stanzaMismatch } from './rules/stanza-mismatch.ts'
import { stanzaMissing } from './rules/stanza-missing.ts'
import { tlsUnverified } from './rules/tls-unverified.ts'
import { unencrypted } from './rules/unencrypted.ts'
import { verifyAge } from './rules/verify-age.ts'
import { walGap } from './rules/wal-gap.ts'
import { walLevel } from './rules/wal-level.ts'
import { window } from './rules/window.ts'

/** Every rule once, by area. docs/reference/doctor.md is generated from this list. */
export const doctorRules: readonly Rule[] = [
  configUnreadable,
  configWarnings,
  retention,
  archiveMode,
  walLevel,
  pendingRestart,
  fsync,
  archiveTimeout,
  idleSlot,
  slotLimit,
  pgWalSize,
  dataChecksums,
  postgresVersion,
  archiveLibrary,
  archiveCommand,
  archiveStopped,
  archiveFailing,
  archiveDropped,
  archiveWaiting,
  archiveBackground,
  archiveCopy,
  spool,
  walGap,
  repositoryUnreadable,
  stanzaMissing,
  stanzaMismatch,
  repositoryLags,
  verifyAge,
  backupMissing,
  backupAge,
  fullAge,
  backupInterrupted,
  backupPageErrors,
  staleLock,
  window,
  drillAge,
  configExposed,
  repositoryPermissions,
  tlsUnverified,
  unencrypted,
  certificate,
  diskSpace,
  clock,
]
