import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { CommandContext } from '../../../src/commands/context.ts'
import { restore } from '../../../src/commands/restore.ts'
import { saveBackupInfo } from '../../../src/core/backup-info-store.ts'
import { saveManifest } from '../../../src/core/manifest-store.ts'
import { backupEntryOf } from '../../../src/format/manifest-totals.ts'
import { type Manifest } from '../../../src/format/manifest.ts'
import { isCheckpointInvalidated, parseControlFile } from '../../../src/postgres/control-file.ts'
import { crc32c } from '../../../src/postgres/crc32c.ts'
import { postgresVersion } from '../../../src/postgres/versions.ts'
import { posixStorage } from '../../../src/storage/posix.ts'
import { isPgtsError, type PgtsError } from '../../../src/util/error.ts'
import type { LogFields, LogMethod } from '../../../src/util/log.ts'
import { aFile, aManifest, LABEL, OWNER, storeContent } from '../../support/builders/manifest.ts'
import { recordingLogger, restoreContext, type RestoreRun } from '../../support/builders/restore-context.ts'
import { repositoryWith } from '../../support/builders/repository.ts'

const SYSTEM_ID = 6569239123849665679n

function aControl(systemId = SYSTEM_ID): string {
  const bytes = Buffer.alloc(8192)
  const row = postgresVersion('15')
  bytes.writeBigUInt64LE(systemId, 0)
  bytes.writeUInt32LE(row.controlVersion, 8)
  bytes.writeUInt32LE(row.catalogVersion, 12)
  bytes.writeBigUInt64LE(0x2000060n, 32)
  bytes.writeUInt32LE(8192, row.control.pageSize)
  bytes.writeUInt32LE(16 * 1024 * 1024, row.control.walSegmentSize)
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, row.control.crc)), row.control.crc)
  return bytes.toString('latin1')
}

const CONTENTS = new Map([
  ['pg_data/PG_VERSION', '15\n'],
  ['pg_data/backup_label', 'START WAL LOCATION\n'],
  ['pg_data/base/1/1259', 'relation '.repeat(2000)],
  ['pg_data/base/1/1260', ''],
  ['pg_data/global/pg_control', aControl()],
  ['pg_data/pg_hba.conf', 'hba'],
  ['pg_data/postgresql.auto.conf', "work_mem = '4MB'\nrecovery_target_xid = '5'\n"],
  ['pg_data/tablespace_map', '16384 /somewhere\n'],
  ['pg_tblspc/16384/PG_15_202209061/5/16391', 'in the tablespace'],
])

let dir: string
let repo: string
let pgPath: string

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'pgts-restore-'))
  repo = join(dir, 'repo')
  pgPath = join(dir, 'pg', 'data')
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

async function aBackup(more: Partial<Manifest> = {}): Promise<Manifest> {
  const files = [...CONTENTS].map(([name, content]) => aFile(name, content))
  const ts = join(dir, 'ts')
  const manifest = aManifest(files, {
    targets: [
      { name: 'pg_data', type: 'path', path: '/old/data' },
      { name: 'pg_data/pg_wal', type: 'link', path: join(dir, 'wal') },
      { name: 'pg_tblspc/16384', type: 'link', path: ts, tablespaceId: '16384', tablespaceName: 'fast' },
    ],
    links: [
      { name: 'pg_data/pg_tblspc/16384', destination: ts, ...OWNER },
      { name: 'pg_data/pg_wal', destination: join(dir, 'wal'), ...OWNER },
    ],
    ...more,
  })
  const data = { ...OWNER, mode: 0o700 }
  const withWal = {
    ...manifest,
    paths: [...manifest.paths, { name: 'pg_data/pg_wal', ...data }, { name: 'pg_data/pg_wal/archive_status', ...data }],
  }
  const storage = posixStorage(repo)
  storeContent(repo, 'main', withWal, CONTENTS)
  await saveManifest(storage, 'main', withWal, {})
  await saveBackupInfo(repositoryWith(storage), 'main', {
    backrestVersion: 'pgts test',
    currentId: 1,
    history: [{ id: 1, systemId: SYSTEM_ID, version: '15', catalogVersion: 202209061, controlVersion: 1300 }],
    backups: [backupEntryOf(withWal)],
  })
  return withWal
}

function context(options: Record<string, unknown> = {}, more: Partial<RestoreRun> = {}) {
  return restoreContext({
    repoPaths: [repo],
    pgPath,
    spoolPath: join(dir, 'spool'),
    options: options as NonNullable<RestoreRun['options']>,
    ...more,
  })
}

async function refusal(options: Record<string, unknown> = {}): Promise<PgtsError> {
  const error: unknown = await restore(context(options)).catch((reason: unknown) => reason)
  if (isPgtsError(error)) return error
  throw new Error('the restore succeeded or failed with an unexpected error', { cause: error })
}

/** Everything below a directory: kind, mode and content, as one comparable value. */
function snapshot(root: string, names: Record<string, string> = {}, below = ''): Record<string, string> {
  for (const name of readdirSync(join(root, below)).sort()) {
    const path = join(below, name)
    const stat = lstatSync(join(root, path))
    const mode = (stat.mode & 0o7777).toString(8)
    if (stat.isSymbolicLink()) names[path] = `link to ${readlinkSync(join(root, path))}`
    else if (stat.isDirectory()) {
      names[path] = `directory ${mode}`
      snapshot(root, names, path)
    } else names[path] = `file ${mode} ${stat.mtimeMs} ${readFileSync(join(root, path), 'latin1')}`
  }
  return names
}

/** Without the files in which restore writes the current time. */
function withoutClock(names: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(names).map(([name, value]) => [
      name,
      /auto\.conf$|\.signal$|pg_control$/.test(name)
        ? value.replace(/^file (\d+) \S+/, 'file $1').replace(/\d{4}-\d\d-\d\d \S+/g, 'NOW')
        : value,
    ]),
  )
}

describe('a restore into an empty directory', () => {
  test('restores everything in the manifest, and writes recovery settings', async () => {
    await aBackup()
    mkdirSync(join(dir, 'spool/archive/main/in'), { recursive: true })
    const ctx = context()
    const report = await restore(ctx)
    expect(report).toMatchObject({ label: LABEL, repoKey: 1, type: 'default', files: 8, removed: 0, unchanged: 0 })

    const names = withoutClock(snapshot(pgPath))
    expect(names['base/1/1259']).toBe(`file 600 1767323000000 ${CONTENTS.get('pg_data/base/1/1259')}`)
    expect(names['base/1/1260']).toBe('file 600 1767323000000 ')
    expect(names['pg_tblspc/16384']).toBe(`link to ${join(dir, 'ts')}`)
    expect(names['pg_wal/archive_status']).toBe('directory 700')
    expect(names['recovery.signal']).toBe('file 600 ')
    expect(names['postgresql.auto.conf']).toBe(
      "file 600 work_mem = '4MB'\n# Removed by pgts restore on NOW # recovery_target_xid = '5'\n\n" +
        `# Recovery settings generated by pgts restore on NOW\nrestore_command = '/usr/bin/pgts archive-get %f "%p"'\n`,
    )
    expect(snapshot(join(dir, 'ts'))['PG_15_202209061/5/16391']).toMatch(/in the tablespace$/)
    expect(Object.keys(names).filter((name) => /backup.manifest|tablespace_map|pgbackrest.tmp/.test(name))).toEqual([])
    expect(existsSync(join(dir, 'spool/archive/main'))).toBe(false)

    const control = parseControlFile(readFileSync(join(pgPath, 'global/pg_control')))
    expect(isCheckpointInvalidated(control)).toBe(true)
    expect(ctx.log.lines).toContain(
      "warn: contents of directory link 'pg_wal' will be restored in a directory at the same location",
    )
    expect(ctx.log.lines.filter((line) => line.includes('restore file'))).toHaveLength(8)
    expect(ctx.log.lines.at(-1)).toBe('info: restore size = 25.7KB, file total = 8')
  })

  test('with link-all restores links, and their content at the destination', async () => {
    await aBackup()
    await restore(context({ linkAll: true }))
    expect(readlinkSync(join(pgPath, 'pg_wal'))).toBe(join(dir, 'wal'))
    expect(snapshot(join(dir, 'wal'))).toEqual({ archive_status: 'directory 700' })
  })

  test('of an offline backup writes no recovery settings by default, and keeps the checkpoint', async () => {
    const online = aManifest([]).options
    await aBackup({ options: { ...online, online: false } })
    expect(await restore(context())).toMatchObject({ type: 'none' })
    expect(existsSync(join(pgPath, 'recovery.signal'))).toBe(false)
    const control = parseControlFile(readFileSync(join(pgPath, 'global/pg_control')))
    expect(isCheckpointInvalidated(control)).toBe(false)
    rmSync(join(dir, 'pg'), { recursive: true })
    rmSync(join(dir, 'ts'), { recursive: true })
    const future = context({ type: 'time', target: '2099-01-01 00:00:00Z' }, { typed: ['--type=time'] })
    expect(await restore(future)).toMatchObject({ type: 'time' })
    expect(future.log.lines.join('\n')).toContain("warn: target time '2099-01-01 00:00:00+00' is in the future")
  })

  test.each([
    [
      'a time gets a numeric offset',
      { type: 'time', target: '2090-01-01T12:00:00Z' },
      "time = '2090-01-01 12:00:00+00'",
    ],
    [
      'also with --set',
      { type: 'time', target: '2090-01-01T12:00:00Z', set: LABEL },
      "time = '2090-01-01 12:00:00+00'",
    ],
    [
      'a zone that only the server knows is written unchanged',
      { type: 'time', target: '2090-01-01 12:00 CET', set: LABEL },
      "time = '2090-01-01 12:00 CET'",
    ],
    ['a transaction id is decimal', { type: 'xid', target: '0x1F' }, "xid = '31'"],
    ['a name is quoted', { type: 'name', target: "it's" }, "name = 'it''s'"],
  ])('writes the recovery target: %s', async (_, options, setting) => {
    await aBackup()
    await restore(context(options))
    expect(readFileSync(join(pgPath, 'postgresql.auto.conf'), 'utf8')).toContain(`\nrecovery_target_${setting}\n`)
  })

  test('with type standby writes standby.signal', async () => {
    await aBackup()
    await restore(context({ type: 'standby' }))
    expect(existsSync(join(pgPath, 'standby.signal'))).toBe(true)
    expect(existsSync(join(pgPath, 'recovery.signal'))).toBe(false)
  })
})

describe('under the name pgbackrest restore warns of a copy that would archive into the stanza of the original', () => {
  const warned = async (options: Record<string, unknown>, more: Partial<RestoreRun> = {}) => {
    const ctx = context(options, { ...more, program: '/usr/bin/pgbackrest' })
    await restore(ctx)
    return ctx.log.lines.filter((line) => line.startsWith('warn:') && line.includes('archive_command'))
  }

  test('when the configured data directory is another one', async () => {
    await aBackup()
    const lines = await warned({}, { configured: '/var/lib/postgresql/15/main' })
    expect(lines).toEqual([
      `warn: the cluster in '${pgPath}' is not the one in '/var/lib/postgresql/15/main', but keeps its archive_command: ` +
        'it will archive into stanza main\nHINT: add --archive-mode=off for a copy\n' +
        'HINT: add --archive-mode=preserve if it replaces the original',
    ])
  })

  test('when no directory is configured and the backup was taken of another one', async () => {
    await aBackup()
    expect(await warned({}, { configured: null })).toEqual([expect.stringContaining("is not the one in '/old/data'")])
  })

  test('with the setting to change when --archive-mode=off would not be written', async () => {
    await aBackup()
    expect(await warned({ type: 'none' }, { configured: '/other', typed: ['--type=none'] })).toEqual([
      expect.stringContaining('HINT: set archive_mode = off in its configuration'),
    ])
  })

  test.each<[string, Record<string, unknown>, Partial<RestoreRun>]>([
    ['it is the configured directory', {}, {}],
    ['archive-mode is given', { archiveMode: 'off' }, { configured: '/other', typed: ['--archive-mode=off'] }],
    ['it becomes a standby', { type: 'standby' }, { configured: '/other' }],
  ])('not when %s', async (_, options, more) => {
    await aBackup()
    expect(await warned(options, more)).toEqual([])
  })

  test('not when the configured path leads to the same directory', async () => {
    await aBackup()
    mkdirSync(pgPath, { recursive: true, mode: 0o700 })
    symlinkSync(pgPath, join(dir, 'link'))
    expect(await warned({}, { configured: join(dir, 'link') })).toEqual([])
  })
})

describe('a restore leaves the mark of a copy', () => {
  const markAfter = async (options: Record<string, unknown>, more: Partial<RestoreRun> = {}) => {
    await restore(context(options, more))
    const path = join(pgPath, 'pgts.copy')
    return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>) : undefined
  }

  test('when the configured data directory is another one, with stanza and reason but without a path of the repository', async () => {
    await aBackup()
    const mark = await markAfter({}, { configured: '/var/lib/postgresql/15/main' })
    expect(mark).toMatchObject({
      format: 1,
      stanza: 'main',
      label: LABEL,
      reason: { kind: 'path', home: '/var/lib/postgresql/15/main' },
    })
    expect(JSON.stringify(mark)).not.toContain(repo)
  })

  test.each<[string, Record<string, unknown>, Partial<RestoreRun>]>([
    ['in the configured directory', {}, {}],
    ['with archive-mode=preserve', {}, { configured: '/other', typed: ['--archive-mode=preserve'] }],
    ['of a standby', { type: 'standby' }, { configured: '/other' }],
    ['under the name pgbackrest', {}, { configured: '/other', program: '/usr/bin/pgbackrest' }],
  ])('but not %s', async (_, options, more) => {
    await aBackup()
    expect(await markAfter(options, more)).toBeUndefined()
  })

  test('and the log says what --archive-mode means for a copy', async () => {
    await aBackup()
    const logged = async (archiveMode: 'off' | 'preserve') => {
      const ctx = context(
        { archiveMode, delta: true },
        { configured: '/other', typed: [`--archive-mode=${archiveMode}`] },
      )
      await restore(ctx)
      return ctx.log.lines.filter((line) => line.includes('the restored cluster'))
    }
    const why = "it was restored to another directory than '/other'"
    expect(await logged('off')).toEqual([
      `info: the restored cluster is a copy with archive_mode = off, and stays one if archive_mode is changed: ${why}\n` +
        'HINT: if it replaces the original, run: pgts --stanza=main archive-allow',
    ])
    expect(await logged('preserve')).toEqual([
      `info: the restored cluster may archive into stanza main, by archive-mode=preserve, although ${why}`,
    ])
  })

  test('also with archive-mode=off, and when the copy is restored over itself', async () => {
    await aBackup()
    await markAfter({ archiveMode: 'off' }, { configured: '/other', typed: ['--archive-mode=off'] })
    expect(await markAfter({ delta: true })).toMatchObject({ reason: { home: '/other' } })
    // A mark of a later version still means a copy.
    writeFileSync(join(pgPath, 'pgts.copy'), '{"format":2}')
    expect(await markAfter({ delta: true })).toMatchObject({ reason: { kind: 'host' } })
  })

  test('but does not restore the mark of a backup that pgbackrest took of a copy', async () => {
    CONTENTS.set('pg_data/pgts.copy', '{}')
    try {
      await aBackup()
      expect(await markAfter({})).toBeUndefined()
    } finally {
      CONTENTS.delete('pg_data/pgts.copy')
    }
  })
})

describe('a restore over an existing cluster', () => {
  test('with --delta writes only what differs, removes other files, and has the result of a fresh restore', async () => {
    await aBackup()
    await restore(context())
    const fresh = withoutClock(snapshot(dir))
    const outside = join(dir, 'outside')

    writeFileSync(join(pgPath, 'base/1/1259'), 'relatioN '.repeat(2000))
    writeFileSync(join(pgPath, 'base/1/1260'), 'not empty any more')
    writeFileSync(join(pgPath, 'strange'), '')
    mkdirSync(join(pgPath, 'base/99/deep'), { recursive: true })
    rmSync(join(pgPath, 'pg_hba.conf'))
    mkdirSync(join(pgPath, 'pg_hba.conf'))
    chmodSync(join(pgPath, 'base'), 0o755)
    mkdirSync(outside)
    writeFileSync(join(outside, 'precious'), 'keep')
    rmSync(join(pgPath, 'pg_wal'), { recursive: true })
    symlinkSync(outside, join(pgPath, 'pg_wal'))
    writeFileSync(join(dir, 'ts/PG_15_202209061/more'), '')
    mkdirSync(join(dir, 'ts/PG_16_202307071'))

    const report = await restore(context({ delta: true }))
    // auto.conf and pg_control are never equal: the last restore changed them.
    expect(report).toMatchObject({ restored: 4, unchanged: 4, removed: 6 })
    expect(readFileSync(join(outside, 'precious'), 'latin1')).toBe('keep')
    rmSync(outside, { recursive: true })
    rmSync(join(dir, 'ts/PG_16_202307071'), { recursive: true }) // another version's: never touched
    expect(withoutClock(snapshot(dir))).toEqual(fresh)
  })

  test('with --force rewrites everything', async () => {
    await aBackup()
    await restore(context())
    expect(await restore(context({ force: true }))).toMatchObject({ unchanged: 0, restored: 7 })
  })

  test('with --delta --force keeps files of equal size and time', async () => {
    await aBackup()
    await restore(context())
    const report = await restore(context({ delta: true, force: true }))
    expect(report.unchanged).toBeGreaterThan(4)
  })

  test('with type preserve keeps settings and signal files', async () => {
    await aBackup()
    await restore(context())
    writeFileSync(join(pgPath, 'postgresql.auto.conf'), "mine = '1'\n")
    writeFileSync(join(pgPath, 'standby.signal'), '')
    await restore(context({ delta: true, type: 'preserve' }))
    expect(readFileSync(join(pgPath, 'postgresql.auto.conf'), 'latin1')).toBe("mine = '1'\n")
    expect(existsSync(join(pgPath, 'standby.signal'))).toBe(true)
    expect(existsSync(join(pgPath, 'recovery.signal'))).toBe(true)
  })
})

describe('a restore from a remote store, which lists the archive while it loads the manifest,', () => {
  async function withHistory(): Promise<void> {
    mkdirSync(join(repo, 'archive/main/15-1'), { recursive: true })
    writeFileSync(join(repo, 'archive/main/15-1/00000002.history'), '1\t0/1000000\tbefore the backup began\n')
  }

  test('refuses a timeline that forked too early, and changes nothing', async () => {
    await aBackup()
    await withHistory()
    const error = await restore(context({}, { distant: true })).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'db-mismatch' })
    expect(existsSync(pgPath)).toBe(false)
  })

  test('uses the values of the manifest where backup.info differs', async () => {
    const manifest = await aBackup()
    await withHistory()
    const listed = { ...backupEntryOf(manifest), archiveStart: '000000020000000000000002' }
    const history = [{ id: 1, systemId: SYSTEM_ID, version: '15', catalogVersion: 202209061, controlVersion: 1300 }]
    await saveBackupInfo(repositoryWith(posixStorage(repo)), 'main', {
      backrestVersion: 'pgts test',
      currentId: 1,
      history,
      backups: [listed],
    })
    const error = await restore(context({}, { distant: true })).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'db-mismatch' })
  })

  test('reports an unusable manifest, whatever the archive has', async () => {
    await aBackup()
    await withHistory()
    for (const name of ['backup.manifest', 'backup.manifest.copy']) rmSync(join(repo, 'backup/main', LABEL, name))
    const error = await restore(context({}, { distant: true })).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'file-missing' })
  })

  test('restores the cluster', async () => {
    await aBackup()
    await restore(context({}, { distant: true }))
    expect(existsSync(join(pgPath, 'global/pg_control'))).toBe(true)
  })
})

describe('checks before a restore', () => {
  test('refuse a data directory with a live server [038], naming its process id; not with a dead one', async () => {
    await aBackup()
    await restore(context())
    writeFileSync(join(pgPath, 'postmaster.pid'), `${process.pid}\n${pgPath}\n`)
    const alive = await refusal({ delta: true })
    expect(alive.exitCode).toBe(38)
    expect(alive.hints.join()).toContain(`process ${process.pid}, which is alive`)
    writeFileSync(join(pgPath, 'postmaster.pid'), '999999999\n')
    expect((await refusal({ delta: true })).hints.join()).toContain("remove 'postmaster.pid' only if no server")
    expect(existsSync(join(pgPath, 'global/pg_control'))).toBe(true)
  })

  test('refuse a directory with content [040], with --delta as the hint', async () => {
    await aBackup()
    mkdirSync(pgPath, { recursive: true })
    writeFileSync(join(pgPath, 'something'), '')
    const error = await refusal()
    expect(error.exitCode).toBe(40)
    expect(error.message).toContain(pgPath)
    expect(error.hints.join()).toContain("'something'")
    expect(error.hints.join()).toContain('--delta')
  })

  test('refuse a tablespace directory with content [040]', async () => {
    await aBackup()
    mkdirSync(join(dir, 'ts/PG_15_202209061/5'), { recursive: true })
    expect((await refusal()).exitCode).toBe(40)
    expect(existsSync(pgPath)).toBe(false)
  })

  test.each([
    ['neither --delta nor --force', {}],
    ['--delta', { delta: true }],
    ['--force', { force: true }],
    ['--delta --force', { delta: true, force: true }],
  ])('refuse a tablespace location with foreign content [040] with %s', async (_, options) => {
    await aBackup()
    await restore(context())
    if (!('delta' in options || 'force' in options)) rmSync(pgPath, { recursive: true })
    if (!('delta' in options || 'force' in options)) rmSync(join(dir, 'ts'), { recursive: true })
    mkdirSync(join(dir, 'ts/PG_14_202107181'), { recursive: true })
    writeFileSync(join(dir, 'ts/authorized_keys'), 'mine')
    const error = await refusal(options)
    expect(error.exitCode).toBe(40)
    expect(error.message).toBe(
      `unable to restore a tablespace to '${join(dir, 'ts')}' because it contains 'authorized_keys', which belongs to no tablespace`,
    )
    expect(error.hints.join()).toContain('tablespace-map')
    expect(readFileSync(join(dir, 'ts/authorized_keys'), 'latin1')).toBe('mine')
    expect(existsSync(join(pgPath, 'global/pg_control'))).toBe('delta' in options || 'force' in options)
  })

  test('refuse a file or a link named like a version directory as foreign content [040]', async () => {
    await aBackup()
    mkdirSync(join(dir, 'ts'))
    symlinkSync(join(dir, 'wal'), join(dir, 'ts/PG_14_202107181'))
    expect((await refusal()).message).toContain("it contains 'PG_14_202107181', which belongs to no tablespace")
  })

  test('accept a tablespace location with other versions and lost+found', async () => {
    await aBackup()
    for (const name of ['PG_14_202107181/1', 'PG_9.6_201608131', 'lost+found']) {
      mkdirSync(join(dir, 'ts', name), { recursive: true })
    }
    await restore(context())
    expect(readdirSync(join(dir, 'ts')).sort()).toEqual(['PG_14_202107181', 'PG_15_202209061', 'PG_9.6_201608131', 'lost+found']) // prettier-ignore
  })

  test('refuse --delta and --force for a directory that is not a cluster [040]', async () => {
    await aBackup()
    mkdirSync(pgPath, { recursive: true })
    writeFileSync(join(pgPath, 'holiday.jpg'), 'keep')
    for (const flag of ['delta', 'force']) {
      const ctx = context({ [flag]: true })
      await expect(restore(ctx)).rejects.toMatchObject({ code: 'path-not-empty' })
      expect(ctx.log.lines.join()).toContain('both are switched off')
    }
    expect(readFileSync(join(pgPath, 'holiday.jpg'), 'latin1')).toBe('keep')
  })

  test.each([
    ['does not exist', () => undefined],
    ['is empty', () => mkdirSync(pgPath, { recursive: true })],
  ])('log no warning with --delta and --force when the data directory %s', async (_, prepare) => {
    await aBackup()
    const warningsOf = async (options: Record<string, unknown>) => {
      for (const name of ['pg', 'wal', 'ts']) rmSync(join(dir, name), { recursive: true, force: true })
      prepare()
      const ctx = context(options)
      await restore(ctx)
      return ctx.log.lines.filter((line) => line.startsWith('warn'))
    }
    const usual = await warningsOf({})
    expect(await warningsOf({ delta: true })).toEqual(usual)
    expect(await warningsOf({ force: true })).toEqual(usual)
  })

  test('refuse content in a tablespace, with the reason why --delta is not applied', async () => {
    await aBackup()
    mkdirSync(join(dir, 'ts/PG_15_202209061/5'), { recursive: true })
    const error = await refusal({ delta: true })
    expect(error.exitCode).toBe(40)
    expect(error.hints).toContain(
      `--delta and --force are switched off: neither 'PG_VERSION' nor 'backup.manifest' is in '${pgPath}'`,
    )
  })

  test('refuse --delta on a cluster with another system identifier [051]; --force replaces it', async () => {
    await aBackup()
    await restore(context())
    writeFileSync(join(pgPath, 'global/pg_control'), Buffer.from(aControl(42n), 'latin1'))
    const error = await refusal({ delta: true })
    expect(error.exitCode).toBe(51)
    expect(error.message).toContain('system identifier 42')
    expect(error.hints.join()).toContain('--force')
    expect(parseControlFile(readFileSync(join(pgPath, 'global/pg_control'))).systemId).toBe(42n)
    await restore(context({ delta: true, force: true }))
    expect(parseControlFile(readFileSync(join(pgPath, 'global/pg_control'))).systemId).toBe(SYSTEM_ID)
  })

  test('accept --delta over a damaged pg_control', async () => {
    await aBackup()
    await restore(context())
    writeFileSync(join(pgPath, 'global/pg_control'), 'garbage')
    await restore(context({ delta: true }))
    expect(parseControlFile(readFileSync(join(pgPath, 'global/pg_control'))).systemId).toBe(SYSTEM_ID)
  })

  test('refuse a stanza without a backup [075], with the reason of every repository', async () => {
    const error = await refusal()
    expect(error.exitCode).toBe(75)
    expect(error.hints.join()).toContain('repo1: unable to open missing file')
  })

  test.each([
    ['an invalid transaction id', { type: 'xid', target: 'abc' }, 32],
    ['a name that is too long', { type: 'name', target: 'x'.repeat(64) }, 32],
    ['a line break in a name', { type: 'name', target: 'a\nb' }, 32],
    ['a line break in a setting', { recoveryOption: new Map([['work_mem', '1\n2']]) }, 32],
    ['two targets', { type: 'xid', target: '7', recoveryOption: new Map([['recovery-target-name', 'x']]) }, 31],
    ['an invalid timeline', { targetTimeline: 'abc' }, 58],
    ['an invalid time, with --set', { type: 'time', target: 'abc', set: LABEL }, 29],
    ['an invalid LSN, with --set', { type: 'lsn', target: '12', set: LABEL }, 29],
  ])('refuse %s, before pg_control is removed', async (_, options, code) => {
    await aBackup()
    await restore(context())
    expect((await refusal({ delta: true, ...options })).exitCode).toBe(code)
    expect(existsSync(join(pgPath, 'global/pg_control'))).toBe(true)
  })

  test('refuse a setting that this version does not have [031], before pg_control is removed', async () => {
    await aBackup()
    await restore(context())
    const error = await refusal({ delta: true, recoveryOption: new Map([['standby-mode', 'on']]) })
    expect(error.exitCode).toBe(31)
    expect(existsSync(join(pgPath, 'global/pg_control'))).toBe(true)
  })
})

test('a wrong checksum ends the restore [026], and the cluster cannot start', async () => {
  await aBackup()
  writeFileSync(join(repo, `backup/main/${LABEL}/pg_data/pg_hba.conf`), 'abh')
  const error = await refusal()
  expect(error.exitCode).toBe(26)
  expect(error.message).toContain(`backup/main/${LABEL}/pg_data/pg_hba.conf`)
  expect(existsSync(join(pgPath, 'global/pg_control'))).toBe(false)
  expect(existsSync(join(pgPath, 'backup.manifest'))).toBe(true)
})

test('an abort during the copy ends the restore with its reason, and the cluster cannot start', async () => {
  await aBackup()
  const controller = new AbortController()
  const ctx = context({}, { signal: controller.signal })
  const info = ctx.log.detail
  Object.assign(ctx.log, {
    detail: (fields: never, message: never) => {
      info(fields, message)
      controller.abort(new Error('terminated on signal'))
    },
  })
  await expect(restore(ctx)).rejects.toThrow('terminated on signal')
  expect(existsSync(join(pgPath, 'global/pg_control'))).toBe(false)
})

describe('after a crash at any step of restore the cluster cannot start, and --delta completes it,', () => {
  /** Fails at the n-th log line: every step of a restore logs one. */
  function dyingAt(n: number, options: Record<string, unknown>): CommandContext<'restore'> {
    const log = recordingLogger()
    let lines = 0
    const dying =
      (method: LogMethod): LogMethod =>
      (fields: unknown, message?: string) => {
        if (++lines === n) throw new Error('killed')
        method(fields as LogFields, message ?? '')
      }
    return {
      ...context(options),
      log: { ...log, info: dying(log.info), detail: dying(log.detail), warn: dying(log.warn) },
    }
  }

  test.each([
    ['into an empty directory', false],
    ['over a damaged cluster', true],
  ])(
    '%s',
    async (_, over) => {
      await aBackup()
      const prepare = async () => {
        for (const name of ['pg', 'ts']) rmSync(join(dir, name), { recursive: true, force: true })
        if (!over) return
        await restore(context())
        rmSync(join(pgPath, 'base/1/1259'))
        writeFileSync(join(pgPath, 'strange'), '')
      }
      await prepare()
      await restore(context({ delta: over }))
      const whole = withoutClock(snapshot(dir))

      let deaths = 0
      for (let n = 1; ; n++) {
        await prepare()
        const before = existsSync(join(pgPath, 'global/pg_control'))
        const ended = await restore(dyingAt(n, { delta: over })).then(
          () => 'finished',
          (error: Error) => error.message,
        )
        if (ended === 'finished') break
        expect(ended).toBe('killed')
        deaths++
        const startable = existsSync(join(pgPath, 'global/pg_control'))
        if (startable && !(before && existsSync(join(pgPath, 'strange')))) {
          // Only the last line is logged after the cluster is complete.
          expect(withoutClock(snapshot(dir))).toEqual(whole)
        }
        const again = existsSync(join(pgPath, 'backup.manifest')) || existsSync(join(pgPath, 'PG_VERSION'))
        await restore(context({ delta: again }))
        expect(withoutClock(snapshot(dir))).toEqual(whole)
      }
      expect(deaths).toBeGreaterThan(over ? 20 : 25)
    },
    120_000,
  )
})
