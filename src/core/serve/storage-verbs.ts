import type { Handler } from '../../remote/connection.ts'
import { onCall, onDownload, onRows, onUpload } from '../../remote/handlers.ts'
import type { StorageMember } from '../../remote/open.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import {
  abortUploadsVerb,
  createIfAbsentVerb,
  createVerb,
  listVerb,
  makePathVerb,
  readlinkVerb,
  readVerb,
  removeTreeVerb,
  removeVerb,
  statVerb,
  symlinkVerb,
  syncVerb,
} from '../../storage/remote/verbs.ts'
import { removeFiles } from '../../storage/whole-file.ts'
import { PgtsError } from '../../util/error.ts'

/** What the driver of the other end can use of this storage. */
export function membersOf(storage: StorageDriver): StorageMember[] {
  return [
    ...(storage.createIfAbsent === undefined ? [] : (['create-if-absent'] as const)),
    ...(storage.abortUploads === undefined ? [] : (['abort-uploads'] as const)),
    ...(storage.links === undefined ? [] : (['links'] as const)),
  ]
}

/** Answers the requests of a `RemoteStorage`. @param storage refuses names that the other end may not use */
export function storageVerbs(storage: StorageDriver): Handler[] {
  return [...readingVerbs(storage), ...writingVerbs(storage), ...linkVerbs(storage)]
}

function readingVerbs(storage: StorageDriver): Handler[] {
  return [
    onCall(statVerb, async ({ name }, { signal }) => ({ entry: (await storage.stat(name, { signal })) ?? null })),
    onRows(listVerb, async ({ prefix, ...options }, { signal }) => ({
      answer: {},
      rows: storage.list(prefix, { ...options, signal }),
    })),
    onDownload(readVerb, async ({ name, ...range }, { signal }) => {
      const body = await storage.read(name, { ...range, signal })
      return { answer: { sizeBytes: body.sizeBytes }, body }
    }),
  ]
}

function writingVerbs(storage: StorageDriver): Handler[] {
  return [
    onUpload(createVerb, async ({ name, unreferenced }, body, { signal }) => {
      await using file = await storage.create(name, { unreferenced, signal })
      for (let chunk = await body.next(); chunk !== undefined; chunk = await body.next()) await file.sink.write(chunk)
      await file.commit(body.end)
      return {}
    }),
    onCall(createIfAbsentVerb, async ({ name, bytes }, { signal }) => {
      if (storage.createIfAbsent === undefined) throw lacks(storage, 'conditions')
      return { value: await storage.createIfAbsent(name, bytes, { signal }) }
    }),
    onCall(removeVerb, async ({ names }, { signal }) => {
      await removeFiles(storage, names, { signal })
      return {}
    }),
    onCall(removeTreeVerb, async ({ name }, { signal }) => {
      await storage.removeTree(name, { signal })
      return {}
    }),
    onCall(abortUploadsVerb, async ({ prefix, beforeMs }, { signal }) => {
      if (storage.abortUploads === undefined) throw lacks(storage, 'uploads')
      return { count: await storage.abortUploads(prefix, beforeMs, { signal }) }
    }),
    onCall(syncVerb, async ({ prefix }, { signal }) => {
      await storage.sync(prefix, { signal })
      return {}
    }),
  ]
}

function linkVerbs(storage: StorageDriver): Handler[] {
  const links = () => {
    if (storage.links === undefined) throw lacks(storage, 'links')
    return storage.links
  }
  return [
    onCall(symlinkVerb, async ({ name, destination }) => {
      await links().symlink(name, destination)
      return {}
    }),
    onCall(readlinkVerb, async ({ name }) => ({ destination: (await links().readlink(name)) ?? null })),
    onCall(makePathVerb, async ({ name }) => {
      await links().makePath(name)
      return {}
    }),
  ]
}

function lacks({ display }: StorageDriver, what: string): PgtsError {
  return new PgtsError('feature-not-supported', `${display} does not have ${what}`)
}
