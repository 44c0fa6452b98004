import fc from 'fast-check'
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { restore } from '../../src/commands/restore.ts'
import { saveBackupInfo } from '../../src/core/backup-info-store.ts'
import { saveManifest } from '../../src/core/manifest-store.ts'
import { backupEntryOf } from '../../src/format/manifest-totals.ts'
import { type Manifest } from '../../src/format/manifest.ts'
import { posixStorage } from '../../src/storage/posix.ts'
import { isPgtsError, toPlainError } from '../../src/util/error.ts'
import { aFile, aManifest, LABEL, OWNER, storeContent } from '../support/builders/manifest.ts'
import { restoreContext } from '../support/builders/restore-context.ts'
import { repositoryWith } from '../support/builders/repository.ts'

const VERSION = 'PG_15_202209061'
const SYSTEM_ID = 6569239123849665679n

/** Everything below a directory: kind, mode, owner and content, except directories that a restore may fill. */
function snapshot(root: string, mayFill: (path: string) => boolean): Record<string, string> {
  const found: Record<string, string> = {}
  const look = (path: string): void => {
    if (mayFill(path)) return
    const stat = lstatSync(path)
    const what = stat.isFile() ? readFileSync(path, 'latin1') : stat.isSymbolicLink() ? readlinkSync(path) : 'other'
    found[path] = `${stat.mode.toString(8)} ${stat.uid}:${stat.gid} ${what}`
    if (stat.isDirectory()) for (const name of readdirSync(path)) look(join(path, name))
  }
  look(root)
  return found
}

function modesBelow(path: string): number[] {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (stat === undefined) return []
  const below = stat.isDirectory() ? readdirSync(path).flatMap((name) => modesBelow(join(path, name))) : []
  return stat.isSymbolicLink() ? below : [stat.mode & 0o7777, ...below]
}

/** A directory with a home, a cron directory, an empty directory and a tablespace of another cluster. */
function aHost(): string {
  const dir = mkdtempSync(join(tmpdir(), 'pgts-hostile-'))
  for (const path of ['home/.ssh', 'etc/cron.d', 'empty', 'ts/PG_14_202107181/1'])
    mkdirSync(join(dir, path), { recursive: true })
  for (const name of [
    'home/.ssh/authorized_keys',
    'home/.profile',
    'etc/cron.d/job',
    'etc/passwd',
    'ts/PG_14_202107181/1/2',
  ])
    writeFileSync(join(dir, name), `canary ${name}`)
  return dir
}

interface Mutation {
  readonly of:
    | 'file'
    | 'path'
    | 'link'
    | 'destination'
    | 'target'
    | 'targetPath'
    | 'targetFile'
    | 'mode'
    | 'version'
    | 'reference'
    | 'owner'
  readonly pick: number
  readonly text: string
  readonly mode: number
}

const components = fc.constantFrom('..', '.', '', 'authorized_keys', '.ssh', 'job', VERSION, 'PG_14_202107181', '16384', '16999', 'pg_wal', 'pg_tblspc', 'pg_data', 'x', 'a\x1b[31m', 'pg_control.pgbackrest.tmp', 'global', 'y'.repeat(300)) // prettier-ignore
const texts = fc
  .tuple(
    fc.constantFrom(
      '',
      '/',
      'pg_data/',
      'pg_tblspc/16384/',
      `pg_tblspc/16384/${VERSION}/`,
      'pg_data/pg_tblspc/',
      'DIR/',
      'DIR/home/',
      'DIR/etc/cron.d/',
      'DIR/empty',
      '../',
    ),
    fc.array(components, { maxLength: 3 }),
  ) // prettier-ignore
  .map(([start, parts]) => start + parts.join('/'))
const mutations: fc.Arbitrary<Mutation> = fc.record({
  of: fc.constantFrom(
    'file',
    'path',
    'link',
    'destination',
    'target',
    'targetPath',
    'targetFile',
    'mode',
    'version',
    'reference',
    'owner',
  ),
  pick: fc.nat(20),
  text: texts,
  mode: fc.integer({ min: 0, max: 0o7777 }),
})

function mutated(manifest: Manifest, dir: string, { of, pick, text: raw, mode }: Mutation): Manifest {
  const text = raw.replace('DIR', dir)
  const change = <T>(list: readonly T[], how: (item: T) => T) =>
    list.map((item, index) => (index === pick % list.length ? how(item) : item))
  const added = <T extends { name: string }>(list: readonly T[], how: (item: T) => T) => [...list, how(list[pick % list.length]!)] // prettier-ignore
  const named = <T extends { name: string }>(list: readonly T[]) =>
    (mode % 2 === 0 ? change : added)(list, (item) => ({ ...item, name: text }))
  switch (of) {
    case 'file':
      return { ...manifest, files: named([...manifest.files]) }
    case 'path':
      return { ...manifest, paths: named(manifest.paths) }
    case 'link':
      return { ...manifest, links: named(manifest.links) }
    case 'target':
      return { ...manifest, targets: named(manifest.targets) }
    case 'destination':
      return { ...manifest, links: change(manifest.links, (link) => ({ ...link, destination: text })) }
    case 'targetPath': {
      // Link and target agree, as in a careful forgery.
      const target = manifest.targets[pick % manifest.targets.length]!
      const link = target.tablespaceId === undefined ? target.name : `pg_data/${target.name}`
      return {
        ...manifest,
        targets: change(manifest.targets, (item) => ({ ...item, path: text })),
        links: manifest.links.map((item) => (item.name === link ? { ...item, destination: text } : item)),
      }
    }
    case 'targetFile':
      return { ...manifest, targets: change(manifest.targets, (item) => ({ ...item, file: text })) }
    case 'mode':
      return {
        ...manifest,
        files: change([...manifest.files], (file) => ({ ...file, mode })),
        paths: change(manifest.paths, (path) => ({ ...path, mode: mode | 0o700 })),
      }
    case 'version':
      return { ...manifest, db: { ...manifest.db, version: text } }
    case 'reference':
      return { ...manifest, files: change([...manifest.files], (file) => ({ ...file, reference: text })) }
    case 'owner':
      return { ...manifest, files: change([...manifest.files], (file) => ({ ...file, user: text, group: text })) }
  }
}

async function forged(dir: string, list: readonly Mutation[]): Promise<string> {
  const contents = new Map([
    ['pg_data/PG_VERSION', '15\n'],
    ['pg_data/global/pg_control', 'control'],
    ['pg_data/pg_wal/archive_status/x', 'x'],
    [`pg_tblspc/16384/${VERSION}/5/1`, 'ssh-ed25519 AAAA attacker'],
  ])
  const link = (name: string, destination: string) => ({ name, destination, ...OWNER })
  const plain = aManifest(
    [...contents].map(([name, content]) => aFile(name, content)),
    {
      targets: [
        { name: 'pg_data', type: 'path', path: '/old' },
        { name: 'pg_data/pg_wal', type: 'link', path: join(dir, 'wal') },
        { name: 'pg_tblspc/16384', type: 'link', path: join(dir, 'ts'), tablespaceId: '16384', tablespaceName: 'one' },
      ],
      links: [link('pg_data/pg_tblspc/16384', join(dir, 'ts')), link('pg_data/pg_wal', join(dir, 'wal'))],
    },
  )
  const offline = { ...plain, options: { ...plain.options, online: false } }
  const repo = join(dir, 'repo')
  const storage = posixStorage(repo)
  storeContent(repo, 'main', plain, contents)
  const manifest = list.reduce((done, mutation) => mutated(done, dir, mutation), offline)
  await saveManifest(storage, 'main', manifest, {})
  await saveBackupInfo(repositoryWith(storage), 'main', {
    backrestVersion: 'x',
    currentId: 1,
    history: [{ id: 1, systemId: SYSTEM_ID, version: '15', catalogVersion: 202209061, controlVersion: 1300 }],
    backups: [{ ...backupEntryOf(plain), label: LABEL }],
  })
  return repo
}

test(
  'a restore writes only to its target and version directories when the manifest was changed at random',
  { timeout: 120_000 },
  async () => {
    const outcomes = new Map<string, number>()
    await fc.assert(
      fc.asyncProperty(
        fc.array(mutations, { maxLength: 3 }),
        fc.boolean(),
        fc.boolean(),
        async (list, delta, force) => {
          const dir = aHost()
          try {
            const pgPath = join(dir, 'pg')
            let repo: string
            try {
              repo = await forged(dir, list)
            } catch (error) {
              // The serialiser refuses duplicate names and names with a line end.
              expect(isPgtsError(error)).toBe(true)
              return
            }
            const mayFill = (path: string) => path === pgPath || path === repo || path.endsWith(`/${VERSION}`)
            const before = snapshot(dir, mayFill)
            const ctx = restoreContext({ repoPaths: [repo], pgPath, spoolPath: join(dir, 'spool'), options: { delta, force, type: 'none' } }) // prettier-ignore
            let outcome = 'restored'
            try {
              await restore(ctx)
            } catch (error) {
              outcome = toPlainError(error).code
            }
            outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
            // A tablespace may have a new location; its directories are created, and hold only the version directory.
            const after = snapshot(dir, mayFill)
            const added = Object.entries(after).filter(([path]) => before[path] === undefined)
            expect(added.filter(([, what]) => !/^40[0-7]+ \d+:\d+ other$/.test(what))).toEqual([])
            expect(after).toEqual({ ...before, ...Object.fromEntries(added) })
            expect(outcome).not.toBe('assert')
            for (const mode of modesBelow(pgPath)) expect(mode & 0o7000).toBe(0)
            for (const line of ctx.log.lines) expect(line).not.toContain('\x1b')
          } finally {
            rmSync(dir, { recursive: true, force: true })
          }
        },
      ),
      { numRuns: 100 },
    )
    // Both results occurred.
    expect(outcomes.get('restored') ?? 0).toBeGreaterThan(5)
    expect(outcomes.get('format') ?? 0).toBeGreaterThan(20)
  },
)
