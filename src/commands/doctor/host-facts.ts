import { stat, statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { DiskFacts, HostFacts, Site } from '../../core/doctor/facts.ts'
import { textPath } from '../../util/byte-string.ts'
import { messageOf, systemCode } from '../../util/error.ts'
import { readLocks } from '../../util/lock.ts'
import { describeUser } from '../../util/owner-names.ts'
import { stopFileOf } from '../../util/stop-file.ts'

export async function hostFacts(site: Site): Promise<HostFacts> {
  const { archiveAsync, lockPath, spoolPath, stanza } = site
  const locks = await Promise.all(
    readLocks(lockPath, stanza).map(async (lock) => {
      const path = `${lockPath}/${stanza}-${lock.type}${lock.repoKey === undefined ? '' : `-${lock.repoKey}`}.lock`
      return { ...lock, path, writtenMs: (await stat(textPath(path)).catch(() => undefined))?.mtimeMs ?? site.nowMs }
    }),
  )
  const stopFile = stopFileIn(site)
  return {
    disks: await disksOf(site),
    ...(archiveAsync && spoolPath !== undefined ? { spool: await spoolOf(spoolPath, stanza) } : {}),
    locks,
    ...(stopFile === undefined ? {} : { stopFile }),
  }
}

/** An untrusted stop file stops nothing. */
function stopFileIn({ lockPath, stanza }: Site): string | undefined {
  try {
    return stopFileOf(lockPath, stanza)
  } catch {
    return undefined
  }
}

/** One row for each file system. */
async function disksOf({ pgPath, pgHost, archiveAsync, spoolPath, lockPath, repos }: Site): Promise<DiskFacts[]> {
  const places: [string, string][] = [
    ...(pgPath === undefined || pgHost !== undefined
      ? []
      : ([
          ['pg_wal', `${pgPath}/pg_wal`],
          ['the data directory', pgPath],
        ] as [string, string][])),
    ...repos.filter(({ type }) => type === 'posix').map(({ key, path }): [string, string] => [`repo${key}`, path]),
    ...(archiveAsync && spoolPath !== undefined ? ([['the spool', spoolPath]] as [string, string][]) : []),
    ['the lock path', lockPath],
  ]
  const disks = new Map<number, DiskFacts & { uses: string[] }>()
  for (const [use, wanted] of places) {
    const path = await existing(wanted)
    try {
      const { dev } = await stat(textPath(path))
      const known = disks.get(dev)
      if (known !== undefined) {
        known.uses.push(use)
        continue
      }
      const { bavail, blocks, bsize } = await statfs(textPath(path))
      // Network file systems may not say.
      if (blocks > 0)
        disks.set(dev, { uses: [use], path: wanted, freeBytes: bavail * bsize, totalBytes: blocks * bsize })
    } catch {
      // Rules about the place itself report that it cannot be read.
    }
  }
  return [...disks.values()]
}

/** The path, or its nearest parent that exists. */
async function existing(path: string): Promise<string> {
  for (let at = path; at !== '/'; at = dirname(at)) {
    try {
      await stat(textPath(at))
      return at
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') return at
    }
  }
  return '/'
}

/** statfs(2) */
const MEMORY = new Set([0x01021994, 0x858458f6])
const NETWORK = new Set([0x6969, 0xff534d42, 0xfe534d42, 0x517b, 0x65735546, 0x00c36400, 0x5346414f])

async function spoolOf(spoolPath: string, stanza: string): Promise<NonNullable<HostFacts['spool']>> {
  const problem = await spoolProblem(spoolPath, stanza)
  const found = await statfs(textPath(await existing(spoolPath))).catch(() => undefined)
  const type = (found?.type ?? 0) >>> 0
  return {
    path: spoolPath,
    kind: MEMORY.has(type) ? 'memory' : NETWORK.has(type) ? 'network' : 'disk',
    ...(problem === undefined ? {} : { problem }),
  }
}

/** Why the background process cannot use it. access(2) is of no use: it asks for the real user, and root may be another. */
async function spoolProblem(spoolPath: string, stanza: string): Promise<string | undefined> {
  const root = `${spoolPath}/archive/${stanza}`
  for (const path of [spoolPath, `${spoolPath}/archive`, root, `${root}/out`, `${root}/in`, `${root}/pgts`]) {
    try {
      const at = await existing(path)
      const { mode, uid, gid } = await stat(textPath(at))
      if (!mayWrite({ mode, uid, gid })) return `${at} belongs to ${describeUser(uid)} and cannot be written to`
    } catch (error) {
      return `${path}: ${messageOf(error)}`
    }
  }
  return undefined
}

function mayWrite({ mode, uid, gid }: { mode: number; uid: number; gid: number }): boolean {
  const own = process.geteuid?.() ?? uid
  if (own === 0) return true
  const groups = [process.getegid?.(), ...(process.getgroups?.() ?? [])]
  const bits = uid === own ? mode >> 6 : groups.includes(gid) ? mode >> 3 : mode
  return (bits & 0o3) === 0o3
}
