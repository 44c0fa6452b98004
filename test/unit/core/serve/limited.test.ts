import { describe, expect, test } from 'vitest'
import { limited } from '../../../../src/core/serve/limited.ts'
import type { LinkSupport, StorageDriver } from '../../../../src/storage/driver.ts'
import { memoryStorage } from '../../../../src/storage/memory.ts'
import { putFile } from '../../../../src/storage/whole-file.ts'
import { forwarding } from '../../../../src/storage/wrappers.ts'

const DENIED = { code: 'access', message: expect.stringContaining('is denied to the other host') as unknown }

function withLinks(): { storage: StorageDriver; made: string[] } {
  const made: string[] = []
  const links: LinkSupport = {
    symlink: async (name, destination) => void made.push(`${name} -> ${destination}`),
    readlink: async () => undefined,
    makePath: async (name) => void made.push(name),
  }
  return { storage: forwarding(memoryStorage(), { links }), made }
}

describe('a host that may use one stanza', () => {
  const { storage, made } = withLinks()
  const one = limited(storage, ['main'])

  test.each(['archive/main/archive.info', 'backup/main/x/y', 'pgts/main/lease.json'])('uses %s', async (name) => {
    await putFile(one, name, Buffer.from('x'))
    expect(await one.stat(name)).toMatchObject({ sizeBytes: 1 })
    await one.remove(name)
    expect(await storage.stat(name)).toBeUndefined()
  })

  test.each(['archive/mainline/archive.info', 'backup/other/x', 'x'])('cannot use %s', async (name) => {
    await putFile(storage, `${name}/file`, Buffer.from('x'))
    const operations: (() => unknown)[] = [
      () => one.stat(name),
      () => one.read(name),
      () => one.create(name),
      () => one.createIfAbsent?.(name, Buffer.from('x')),
      () => one.remove(name),
      () => one.removeTree(name),
      () => one.sync(name),
      () => one.links?.symlink(name, 'x'),
      () => one.links?.readlink(name),
      () => one.links?.makePath(name),
      async () => {
        for await (const _ of one.list(name));
      },
    ]
    for (const operation of operations) await expect((async () => operation())()).rejects.toMatchObject(DENIED)
  })

  test('lists only its stanza among those of the repository, and nothing of all of them', async () => {
    await putFile(storage, 'backup/main/backup.info', Buffer.from('x'))
    await putFile(storage, 'backup/other/backup.info', Buffer.from('x'))
    const names: string[] = []
    for await (const { name } of one.list('backup')) names.push(name)
    expect(names).toEqual(['backup/main'])
    const all = async () => {
      for await (const _ of one.list('backup', { recursive: true }));
    }
    await expect(all()).rejects.toMatchObject(DENIED)
  })

  test('creates links inside of the stanza only', async () => {
    await one.links?.symlink('backup/main/latest', '20260101-000000F')
    await one.links?.symlink('backup/main/a/b', '../c')
    expect(made).toEqual(['backup/main/latest -> 20260101-000000F', 'backup/main/a/b -> ../c'])
    for (const destination of ['/etc', '../other', '../../../..', '..'])
      await expect(one.links?.symlink('backup/main/latest', destination)).rejects.toMatchObject(DENIED)
  })
})

test('a host that may use all stanzas creates no link that leaves the repository', async () => {
  const { storage, made } = withLinks()
  const all = limited(storage, 'all')
  await all.links?.symlink('backup/main/latest', '../other')
  expect(made).toHaveLength(1)
  await expect(all.links?.symlink('backup/x', '../../etc')).rejects.toMatchObject(DENIED)
  await expect(all.links?.symlink('backup/x', '/etc')).rejects.toMatchObject(DENIED)
})
