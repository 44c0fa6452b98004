import { asBytes, bytes, bytesToText, parentOf, type ByteString } from '../../util/byte-string.ts'
import { PgtsError } from '../../util/error.ts'
import { describeUser } from '../../util/owner-names.ts'
import { isAlive } from '../../util/is-alive.ts'
import type { Layout, Place } from './layout.ts'
import type { ExistingFiles } from './plan.ts'
import { listNames, readSmallFile, statEntry } from './file-system.ts'

/** Refuses [038] while postmaster.pid exists: overwriting the files of a running server destroys the cluster. */
export function refuseRunningServer(pgPath: ByteString): void {
  const content = readSmallFile(bytes`${pgPath}/postmaster.pid`)
  if (content === undefined) return
  const pid = Math.abs(Number.parseInt(content.toString('latin1').split('\n')[0] ?? '', 10))
  const alive = Number.isInteger(pid) && pid > 0 && isAlive(pid)
  const process = Number.isInteger(pid) ? `process ${pid}` : 'an unreadable process id'
  throw new PgtsError('pg-running', `unable to restore while PostgreSQL is running in '${bytesToText(pgPath)}'`, {
    hints: alive
      ? [`postmaster.pid names ${process}, which is alive: stop the server first (pg_ctl stop)`]
      : [
          `postmaster.pid names ${process}, which is not alive on this host: a crashed server leaves this file`,
          "remove 'postmaster.pid' only if no server uses this directory, on any host or in a container",
        ],
  })
}

/**
 * `--delta` and `--force` delete files, so they require a directory that contains a cluster. Otherwise both are
 * switched off, and a directory with content is refused later. In an empty or missing directory there is nothing to
 * delete, so there is no warning.
 */
export function confirmExisting(
  pgPath: ByteString,
  existing: ExistingFiles,
): { readonly existing: ExistingFiles; readonly warning?: string } {
  if (!existing.delta && !existing.force) return { existing }
  if (['PG_VERSION', 'backup.manifest'].some((name) => statEntry(bytes`${pgPath}/${name}`) !== undefined))
    return { existing }
  const switchedOff = { delta: false, force: false, unconfirmed: true } as const
  if ((listNames(pgPath) ?? []).length === 0) return { existing: switchedOff }
  return {
    existing: switchedOff,
    warning:
      `--delta or --force was given but neither 'PG_VERSION' nor 'backup.manifest' is in '${bytesToText(pgPath)}' to confirm that it` +
      ' is the data directory of a cluster: both are switched off, and existing files end the restore',
  }
}

/**
 * With `--delta` alone, refuses [051] a directory with a cluster other than that of the backup. A cluster that cannot
 * be identified (pg_control is missing or corrupt, and no restore was interrupted) is accepted, because delta exists to
 * repair it.
 *
 * @param systemIdOf reads a pg_control; undefined if its checksum is invalid
 */
export function refuseOtherCluster(
  pgPath: ByteString,
  existing: ExistingFiles,
  backup: { readonly label: string; readonly systemId: bigint },
  systemIdOf: (control: Buffer) => bigint | undefined,
): void {
  if (!existing.delta || existing.force) return
  const found = identifyCluster(pgPath, systemIdOf)
  if (found === undefined || found === backup.systemId) return
  throw new PgtsError(
    'backup-mismatch',
    `'${bytesToText(pgPath)}' belongs to the cluster with system identifier ${found}, but backup ${backup.label} to ${backup.systemId}`,
    {
      hints: [
        'check that pg1-path and --stanza are those of the cluster to restore',
        'use --delta --force, or --force, to replace the other cluster with this backup',
      ],
    },
  )
}

/** System identifier of the cluster in a directory, also after an interrupted restore; undefined: none, or not known. */
export function identifyCluster(
  pgPath: string,
  systemIdOf: (control: Buffer) => bigint | undefined,
): bigint | undefined {
  for (const name of ['global/pg_control', 'global/pg_control.pgbackrest.tmp']) {
    const control = readSmallFile(bytes`${pgPath}/${name}`)
    const id = control === undefined ? undefined : systemIdOf(control)
    if (id !== undefined) return id
  }
  // An interrupted restore removed pg_control, but its manifest contains the system identifier.
  const id = /^db-system-id=([0-9]+)$/m.exec(
    readSmallFile(bytes`${pgPath}/backup.manifest`)?.toString('latin1') ?? '',
  )?.[1]
  return id === undefined ? undefined : BigInt(id)
}

/**
 * Every place must be a directory that this process can write to ([053]), and empty ([040], [093]) unless existing
 * files may be removed. The location of a tablespace must contain tablespaces only, even with --delta or --force
 * ([040]).
 *
 * @param uid of this process
 * @param skip absolute paths that are not checked
 */
export function checkPlaces(
  layout: Layout,
  existing: ExistingFiles,
  uid: number,
  skip: ReadonlySet<string>,
  onCheck: (path: ByteString) => void = () => undefined,
): void {
  const checked = new Set<string>()
  for (const place of layout.places) {
    const directory = place.kind === 'file' ? parentOf(place.path) : place.path
    if (!checked.has(directory)) onCheck(directory)
    checked.add(directory)
    // The location of a tablespace must only be writable if the tablespace's own directory does not exist.
    if (place.kind === 'tablespace' && statEntry(place.path) === undefined) checkWritable(parentOf(place.path), uid)
    checkWritable(directory, uid)
    if (place.kind === 'tablespace') refuseForeignContent(parentOf(place.path))
    if (!existing.delta && !existing.force) refuseContent(place, skip, deltaHint(layout.pgPath, existing))
    else if (place.kind === 'file' && statEntry(place.path)?.kind === 'path') {
      throw new PgtsError(
        'file-exists',
        `unable to restore file '${bytesToText(place.path)}' because a directory has this name`,
      )
    }
  }
}

/**
 * A manifest contains the locations of tablespaces, and a restore without tablespace-map writes to them. The other
 * content of a directory shows if it never was a tablespace location, such as ~/.ssh in a forged manifest. Allowed are
 * directories with PostgreSQL's names (`PG_15_202209061`), of any version, and those that file systems create.
 */
function refuseForeignContent(location: ByteString): void {
  const isOwn = (name: string) =>
    OF_FILE_SYSTEM.has(name) || (VERSION_DIRECTORY.test(name) && statEntry(bytes`${location}/${name}`)?.kind === 'path')
  const foreign = (listNames(location) ?? []).find((name) => !isOwn(name))
  if (foreign === undefined) return
  const shown = bytesToText(location)
  throw new PgtsError(
    'path-not-empty',
    `unable to restore a tablespace to '${shown}' because it contains '${bytesToText(foreign)}', which belongs to no tablespace`,
    {
      hints: [
        'use tablespace-map to restore this tablespace to another directory',
        `check that this is the intended backup, and that '${shown}' is a directory of the cluster`,
      ],
    },
  )
}

const VERSION_DIRECTORY = /^PG_[0-9]+(?:\.[0-9]+)?_[0-9]+$/
const OF_FILE_SYSTEM: ReadonlySet<string> = new Set(['lost+found', '.snapshot'])

/** Why `--delta` does not help with an existing file; undefined if it does. */
function deltaHint(pgPath: ByteString, existing: ExistingFiles): string | undefined {
  if (existing.unconfirmed !== true) return undefined
  return `--delta and --force are switched off: neither 'PG_VERSION' nor 'backup.manifest' is in '${bytesToText(pgPath)}'`
}

function refuseContent(place: Place, skip: ReadonlySet<string>, switchedOff: string | undefined): void {
  if (place.kind === 'file') {
    if (statEntry(place.path) === undefined) return
    throw new PgtsError(
      'file-exists',
      `unable to restore file '${bytesToText(place.path)}' because it already exists`,
      {
        hints: [switchedOff ?? 'use --delta to replace it'],
      },
    )
  }
  const content = (listNames(place.path) ?? []).filter((name) => !skip.has(bytes`${place.path}/${name}`))
  if (content.length === 0) return
  throw new PgtsError(
    'path-not-empty',
    `unable to restore to path '${bytesToText(place.path)}' because it contains files`,
    {
      hints: [
        `there are ${content.length} entries, for example '${bytesToText(content[0] ?? asBytes(''))}'`,
        switchedOff ?? 'use --delta to replace an existing cluster; files that equal the backup are kept',
      ],
    },
  )
}

function checkWritable(path: ByteString, uid: number): void {
  const entry = statEntry(path, { follow: true })
  if (entry === undefined) return
  if (entry.kind !== 'path') {
    throw new PgtsError('path-open', `unable to restore to path '${bytesToText(path)}', which is not a directory`)
  }
  if (uid !== 0 && entry.uid !== uid) {
    throw new PgtsError(
      'path-open',
      `unable to restore to path '${bytesToText(path)}', which is not owned by the current user`,
      {
        hints: [
          `the owner is ${describeUser(entry.uid)}, restore runs as ${describeUser(uid)}: run restore as the user that owns the cluster`,
        ],
      },
    )
  }
  if ((entry.mode & 0o700) !== 0o700) {
    throw new PgtsError(
      'path-open',
      `unable to restore to path '${bytesToText(path)}' without rwx permissions for its owner`,
      {
        hints: [`run: chmod u+rwx '${bytesToText(path)}'`],
      },
    )
  }
}
