import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { checkPlaces } from '../../../../src/core/restore/check-target.ts'
import type { Layout } from '../../../../src/core/restore/layout.ts'
import { decideOwnership } from '../../../../src/core/restore/owners.ts'
import { isPgtsError } from '../../../../src/util/error.ts'
import { describeUser } from '../../../../src/util/owner-names.ts'
import { aFile, aManifest } from '../../../support/builders/manifest.ts'

const unknown = { userId: () => undefined, groupId: () => undefined }
const manifest = aManifest([{ ...aFile('pg_data/PG_VERSION', '15\n'), user: 'lost', group: 'lost' }])

test('files of an unknown owner: the warning names the user and group that they get', () => {
  const { warnings } = decideOwnership(manifest, { uid: 0, gid: 0, ...unknown })
  expect(warnings).toContain("user 'lost' in the backup does not exist on this host: its files get uid 0 (root)")
  expect(warnings).toContain("group 'lost' in the backup does not exist on this host: its files get gid 0 (root)")
})

test('files of another owner, restored without root: the warning names the current user', () => {
  const { warnings } = decideOwnership(manifest, { uid: 65534, gid: 3_999_999_999, ...unknown })
  expect(warnings).toContain("user 'lost' in the backup is not the current user: its files get uid 65534 (nobody)")
  expect(warnings).toContain("group 'lost' in the backup is not the current group: its files get gid 3999999999")
})

test('a directory of another user is refused [053] with the names of both users', () => {
  const path = mkdtempSync(join(tmpdir(), 'pgts-owner-'))
  try {
    const layout = { pgPath: path, places: [{ kind: 'path', path }] } as unknown as Layout
    checkPlaces(layout, { delta: false, force: false }, 3_999_999_999, new Set())
    expect.unreachable()
  } catch (error) {
    if (!isPgtsError(error)) throw error
    expect(error).toMatchObject({
      exitCode: 53,
      message: expect.stringContaining('not owned by the current user') as string,
    })
    expect(error.hints[0]).toContain(`the owner is ${describeUser(process.getuid!())}, restore runs as uid 3999999999`)
  } finally {
    rmSync(path, { recursive: true })
  }
})
