import { expect, test } from 'vitest'
import type { ClusterDirectory, ClusterEntry } from '../../../../src/postgres/cluster-access.ts'
import { ListAhead } from '../../../../src/postgres/remote/list-ahead.ts'
import { asBytes, bytes, type ByteString } from '../../../../src/util/byte-string.ts'

/** A tree by the paths of its directories. */
class Tree {
  readonly requested: string[] = []
  constructor(readonly paths: readonly string[]) {}
  async list(path: ByteString): Promise<ClusterDirectory | undefined> {
    this.requested.push(path)
    if (!this.paths.includes(path)) return undefined
    const inside = this.paths.filter((one) => one.startsWith(`${path}/`) && !one.slice(path.length + 1).includes('/'))
    const names = inside.map((one) => asBytes(one.slice(path.length + 1)))
    const entries = names.map((name) => ({ name, kind: 'path' }) as ClusterEntry)
    return { names, [Symbol.iterator]: () => entries.values() }
  }
}

test('a walk gets every directory, each requested once and up to 16 ahead', async () => {
  const databases = Array.from({ length: 40 }, (_, at) => `/pg/base/${10 + at}`)
  const tree = new Tree(['/pg', '/pg/base', ...databases, '/pg/pg_wal', '/pg/pg_wal/archive_status', '/pg/x'])
  const ahead = new ListAhead((path) => tree.list(path))
  const walked: string[] = []
  const requestedBefore: number[] = []
  const walk = async (path: ByteString): Promise<void> => {
    const directory = await ahead.list(path)
    walked.push(path)
    requestedBefore.push(tree.requested.length - walked.length)
    for (const { name } of directory ?? []) {
      // As for a backup of a running server.
      if (name !== 'archive_status') await walk(bytes`${path}/${name}`)
    }
  }
  await walk(asBytes('/pg'))
  expect(walked).toEqual(tree.paths.filter((path) => path !== '/pg/pg_wal/archive_status'))
  expect(tree.requested.toSorted()).toEqual(tree.paths.toSorted())
  expect(requestedBefore.slice(0, 4)).toEqual([0, 16, 16, 16])
})

test('one directory alone is requested alone', async () => {
  const tree = new Tree(['/pg', '/pg/base', '/pg/base/1'])
  const ahead = new ListAhead((path) => tree.list(path))
  await ahead.list(asBytes('/pg'))
  expect(tree.requested).toEqual(['/pg'])
  expect(await ahead.list(asBytes('/nothing'))).toBeUndefined()
})

test('an announced walk requests its first directory at once, and those in it as soon as it is known', async () => {
  const tree = new Tree(['/pg', '/pg/base', '/pg/base/1', '/pg/global'])
  const ahead = new ListAhead((path) => tree.list(path))
  ahead.expectWalk(asBytes('/pg'))
  expect(tree.requested).toEqual(['/pg'])
  await ahead.list(asBytes('/pg'))
  expect(tree.requested).toEqual(['/pg', '/pg/base', '/pg/global'])
})
