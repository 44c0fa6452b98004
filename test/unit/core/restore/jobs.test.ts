import { expect, test } from 'vitest'
import { restoreJobs } from '../../../../src/core/restore/jobs.ts'
import type { PlannedFile } from '../../../../src/core/restore/plan.ts'
import { posixStorage } from '../../../../src/storage/posix.ts'
import { aFile, aManifest } from '../../../support/builders/manifest.ts'
import { repositoryWith } from '../../../support/builders/repository.ts'

/** Names of the files of each job of a restore from an object store. */
function jobsOf(files: readonly PlannedFile[]): string[][] {
  const storage = { ...posixStorage('/nowhere'), parallel: 4 }
  const ownership = { ownerOf: () => undefined } as unknown as Parameters<typeof restoreJobs>[1]['ownership']
  const request = { ownership, repository: repositoryWith(storage), stanza: 'main', syncUnchanged: false }
  const manifest = aManifest(files.map(({ file }) => file))
  return [...restoreJobs(files, { ...request, manifest })].map((job) => job.files.map(({ name }) => name))
}

const planned = (name: string, more: Parameters<typeof aFile>[2] = {}): PlannedFile => ({
  file: aFile(`pg_data/base/1/${name}`, 'x', more),
  path: `/d/base/1/${name}`,
  action: 'create',
})
const blocks = { blockMapSize: 10, blockSize: 8192, blockChecksumSize: 6 }

test('a bundle on an object store is one job, with files in blocks between plain ones', () => {
  const files = Array.from({ length: 200 }, (_, index) =>
    planned(String(index), { bundleId: 1, bundleOffset: index * 100, ...(index % 2 === 0 ? {} : blocks) }),
  )
  expect(jobsOf(files)).toEqual([files.map(({ file }) => file.name)])
})

test('a bundle after other files begins a job', () => {
  const files = [planned('a'), planned('b', { bundleId: 1, bundleOffset: 0 }), planned('c', { bundleId: 2 })]
  expect(jobsOf(files)).toEqual([['pg_data/base/1/a'], ['pg_data/base/1/b', 'pg_data/base/1/c']])
})
