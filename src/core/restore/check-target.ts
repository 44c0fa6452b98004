import { bytesToText, parentOf } from '../../util/byte-string.ts'
import { PgtsError } from '../../util/error.ts'
import { describeUser } from '../../util/owner-names.ts'
import { isAlive } from '../../util/is-alive.ts'
import type { Layout, Place } from './layout.ts'
import type { ExistingFiles } from './plan.ts'
import { listNames, readSmallFile, statEntry } from './file-system.ts'

/** Refuse [038] while postmaster.pid exists: overwriting the files of a running server destroys the cluster. */
export function refuseRunningServer(pgPath: string): void {
  const content = readSmallFile(`${pgPath}/postmaster.pid`)
  if (content === undefined) return
  const pid = Math.abs(Number.parseInt(content.toString('latin1').split('\n')[0] ?? '', 10))
  const alive = Number.isInteger(pid) && pid > 0 && isAlive(pid)
  const process = Number.isInteger(pid) ? `process ${pid}` : 'an unreadable process id'
  throw new PgtsError('pg-running', `unable to restore while PostgreSQL is running in '${bytesToText(pgPath)}'`, {
    hints: alive
      ? [`postmaster.pid names ${process}, which is alive: stop the server first (pg_ctl stop)`]
      : [
          `postmaster.pid names ${process}, which is not alive on this host: a server that crashed leaves this file behind`,
          "remove 'postmaster.pid' only when no server, also on another host or in a container, uses this directory",
        ],
  })
}

/**
 * `--delta` and `--force` delete files, so they are only valid for a directory that is recognisably a cluster. Otherwise
 * both are switched off, and a directory with content is refused later. In a directory that is empty or does not exist
 * there is nothing to delete, so there is nothing to warn about.
 */
export function confirmExisting(
  pgPath: string,
  existing: ExistingFiles,
): { readonly existing: ExistingFiles; readonly warning?: string } {
  if (!existing.delta && !existing.force) return { existing }
  if (['PG_VERSION', 'backup.manifest'].some((name) => statEntry(`${pgPath}/${name}`) !== undefined))
    return { existing }
  const switchedOff = { delta: false, force: false, unconfirmed: true } as const
  if ((listNames(pgPath) ?? []).length === 0) return { existing: switchedOff }
  return {
    existing: switchedOff,
    warning:
      `--delta or --force was given but neither 'PG_VERSION' nor 'backup.manifest' is in '${bytesToText(pgPath)}' to confirm that it` +
      ' is the data directory of a cluster: both are switched off, and files in the way will end the restore',
  }
}

/**
 * With `--delta` alone, refuse [051] a directory whose cluster is another one than that of the backup. What cannot be
 * identified (pg_control is lost or damaged, and no restore was under way) passes: repairing it is what delta is for.
 *
 * @param systemIdOf reads a pg_control; undefined when its checksum is wrong
 */
export function refuseOtherCluster(
  pgPath: string,
  existing: ExistingFiles,
  backup: { readonly label: string; readonly systemId: bigint },
  systemIdOf: (control: Buffer) => bigint | undefined,
): void {
  if (!existing.delta || existing.force) return
  const found = identifyCluster(pgPath, systemIdOf)
  if (found === undefined || found === backup.systemId) return
  throw new PgtsError(
    'backup-mismatch',
    `'${bytesToText(pgPath)}' belongs to the cluster with system identifier ${found}, but backup ${backup.label} is of ${backup.systemId}`,
    {
      hints: [
        'compare pg1-path and --stanza with the cluster that you mean to restore',
        'use --delta --force, or --force, to replace the other cluster with this backup',
      ],
    },
  )
}

function identifyCluster(pgPath: string, systemIdOf: (control: Buffer) => bigint | undefined): bigint | undefined {
  for (const name of ['global/pg_control', 'global/pg_control.pgbackrest.tmp']) {
    const control = readSmallFile(`${pgPath}/${name}`)
    const id = control === undefined ? undefined : systemIdOf(control)
    if (id !== undefined) return id
  }
  // An interrupted restore removed pg_control, but its manifest shows which cluster it was restoring.
  const id = /^db-system-id=([0-9]+)$/m.exec(readSmallFile(`${pgPath}/backup.manifest`)?.toString('latin1') ?? '')?.[1]
  return id === undefined ? undefined : BigInt(id)
}

/**
 * Every place must be a directory that we can write ([053]), and empty ([040], [093]) unless existing files may go. The
 * location of a tablespace may hold tablespaces only, whatever may go ([040]).
 *
 * @param uid of this process
 * @param skip absolute paths that do not count as content
 */
export function checkPlaces(
  layout: Layout,
  existing: ExistingFiles,
  uid: number,
  skip: ReadonlySet<string>,
  onCheck: (path: string) => void = () => undefined,
): void {
  const checked = new Set<string>()
  for (const place of layout.places) {
    const directory = place.kind === 'file' ? parentOf(place.path) : place.path
    if (!checked.has(directory)) onCheck(directory)
    checked.add(directory)
    // Only where a tablespace's own directory has to be made does its location have to be ours.
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
 * A manifest names the locations of tablespaces, and without tablespace-map a restore fills them. A directory that was
 * never one of a tablespace, such as ~/.ssh in a forged manifest, shows by what else it holds. Allowed are directories
 * named like those of PostgreSQL (`PG_15_202209061`), also of other versions, and what file systems create by themselves.
 */
function refuseForeignContent(location: string): void {
  const isOwn = (name: string) =>
    OF_FILE_SYSTEM.has(name) || (VERSION_DIRECTORY.test(name) && statEntry(`${location}/${name}`)?.kind === 'path')
  const foreign = (listNames(location) ?? []).find((name) => !isOwn(name))
  if (foreign === undefined) return
  const shown = bytesToText(location)
  throw new PgtsError(
    'path-not-empty',
    `unable to restore a tablespace to '${shown}' because '${bytesToText(foreign)}' in it belongs to no tablespace`,
    {
      hints: [
        'use tablespace-map to restore this tablespace to another directory',
        `check that the backup is the one that was meant, and that '${shown}' is a directory of the cluster`,
      ],
    },
  )
}

const VERSION_DIRECTORY = /^PG_[0-9]+(?:\.[0-9]+)?_[0-9]+$/
const OF_FILE_SYSTEM: ReadonlySet<string> = new Set(['lost+found', '.snapshot'])

/** Why `--delta` does not help against content in a place; undefined where it does. */
function deltaHint(pgPath: string, existing: ExistingFiles): string | undefined {
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
        hints: [switchedOff ?? 'use --delta if it may be replaced'],
      },
    )
  }
  const content = (listNames(place.path) ?? []).filter((name) => !skip.has(`${place.path}/${name}`))
  if (content.length === 0) return
  throw new PgtsError(
    'path-not-empty',
    `unable to restore to path '${bytesToText(place.path)}' because it contains files`,
    {
      hints: [
        `there are ${content.length} entries, for example '${bytesToText(content[0] ?? '')}'`,
        switchedOff ??
          'use --delta if this is a cluster that may be changed into the backup, keeping the files that are equal',
      ],
    },
  )
}

function checkWritable(path: string, uid: number): void {
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
        hints: [`chmod u+rwx '${bytesToText(path)}'`],
      },
    )
  }
}
