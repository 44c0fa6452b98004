import fs from 'node:fs'
import { bytes, parentOf, pathOf, type ByteString } from '../../util/byte-string.ts'
import { systemCode } from '../../util/error.ts'
import type { Layout } from './layout.ts'
import type { RestorePlan } from './plan.ts'

/** The space that a restore takes on one file system. Sizes in bytes. */
export interface FileSystemSpace {
  /** A directory on it that exists, or that the restore creates. */
  readonly path: ByteString
  /** Size of the restored files less that of the files that they replace and of those that are removed; not below 0. */
  readonly neededBytes: number
  readonly freeBytes: number
  /** It compresses: then files may take less space than their size. */
  readonly compresses: boolean
}

/** A file system that lacks the space for the restored files. */
export function isTooSmall({ neededBytes, freeBytes, compresses }: FileSystemSpace): boolean {
  return neededBytes > freeBytes && !compresses
}

/**
 * The space that a restore takes on each file system it writes to, in the order of the places. PostgreSQL's WAL of the
 * recovery comes in addition.
 *
 * @param exact look at the size of every existing file; otherwise only where the restored files might not fit, and
 *   `neededBytes` may be too large elsewhere
 */
export function spaceOf(plan: RestorePlan, layout: Layout, exact: boolean): FileSystemSpace[] {
  const systems = new Map<number, System>()
  const devices = new Map(layout.places.map(({ path }) => [path, deviceOf(path)]))
  for (const { path } of layout.places) {
    const device = devices.get(path)!
    const space = systems.has(device) ? undefined : spaceAt(path)
    if (space !== undefined) systems.set(device, { path, ...space, neededBytes: 0 })
  }
  const systemOf = (path: ByteString) => systems.get(devices.get(placeOf(layout, path))!)
  for (const { file, path, action } of plan.files) {
    if (action === 'keep' || action === 'zero') continue
    const system = systemOf(path)
    if (system !== undefined) system.neededBytes += Math.ceil(file.sizeBytes / system.blockSize) * system.blockSize
  }
  if (exact || [...systems.values()].some(isTooSmall)) {
    const replace = (path: ByteString) => {
      const system = systemOf(path)
      if (system !== undefined) system.neededBytes -= allocated(path)
    }
    for (const { path, action } of plan.files) if (action !== 'keep' && action !== 'create') replace(path)
    for (const { path } of plan.remove) replace(path)
  }
  return [...systems.values()].map(({ path, neededBytes, freeBytes, compresses }) => ({
    ...{ path, freeBytes, compresses },
    neededBytes: Math.max(0, neededBytes),
  }))
}

interface System extends SpaceOfSystem {
  readonly path: ByteString
  neededBytes: number
}

/** The longest path of a place that contains this file. */
function placeOf(layout: Layout, path: ByteString): ByteString {
  const within = layout.places.filter((place) => path === place.path || path.startsWith(bytes`${place.path}/`))
  return within.reduce((best, place) => (place.path.length > best.length ? place.path : best), layout.pgPath)
}

/** Bytes on the disk of a file, or of all files of a directory; links are not followed. */
export function allocated(path: ByteString): number {
  let total = 0
  try {
    const stat = fs.lstatSync(pathOf(path))
    if (!stat.isDirectory()) return stat.nlink > 1 ? 0 : stat.blocks * STAT_BLOCK
    for (const name of fs.readdirSync(pathOf(path), { encoding: 'latin1' })) total += allocated(bytes`${path}/${name}`)
  } catch {
    // What cannot be read is not counted as free.
  }
  return total
}

const STAT_BLOCK = 512

function deviceOf(path: ByteString): number {
  return fs.statSync(pathOf(existing(path))).dev
}

/** The path, or its nearest parent that exists. */
function existing(path: ByteString): ByteString {
  for (let at = path; at !== '/'; at = parentOf(at)) {
    try {
      fs.statSync(pathOf(at))
      return at
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error
    }
  }
  return bytes`/`
}

interface SpaceOfSystem {
  readonly freeBytes: number
  readonly blockSize: number
  readonly compresses: boolean
}

/** Undefined where the system does not say, as some network file systems. */
function spaceAt(path: ByteString): SpaceOfSystem | undefined {
  const { bavail, bfree, blocks, bsize, type } = fs.statfsSync(pathOf(existing(path)))
  if (blocks === 0) return undefined
  // Root may use the reserved blocks.
  const free = process.getuid?.() === 0 ? bfree : bavail
  return { freeBytes: free * bsize, blockSize: bsize, compresses: COMPRESSING.has(type >>> 0) }
}

/** ZFS, btrfs and bcachefs: statfs(2). */
const COMPRESSING: ReadonlySet<number> = new Set([0x2fc12fc1, 0x9123683e, 0xca451a4e])
