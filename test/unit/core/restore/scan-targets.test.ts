import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { layOut } from '../../../../src/core/restore/layout.ts'
import { planRestore } from '../../../../src/core/restore/plan.ts'
import { scanTargets } from '../../../../src/core/restore/scan-targets.ts'
import { aFile, aManifest } from '../../../support/builders/manifest.ts'

let data: string

beforeAll(() => {
  data = mkdtempSync(join(tmpdir(), 'pgts-scan-'))
  for (const directory of ['base', 'base/1', 'base/9', 'global']) mkdirSync(join(data, directory))
  for (const file of ['PG_VERSION', 'base/1/1', 'base/1/2', 'base/1/20', 'base/9/1', 'base/file', 'global/1'])
    writeFileSync(join(data, file), file)
  writeFileSync(Buffer.from(`${data}/base/1/na\xefve`, 'latin1'), 'x')
  symlinkSync('/etc/passwd', join(data, 'base/1/link'))
})
afterAll(() => rmSync(data, { recursive: true }))

function scanned(statFiles: boolean, skip: readonly string[] = []) {
  const files = ['PG_VERSION', 'base/1/1', 'base/1/2', 'base/1/na\xefve', 'global/2']
  const manifest = aManifest(
    files.map((name) => aFile(`pg_data/${name}`)),
    { targets: [{ name: 'pg_data', type: 'path', path: data }] },
  )
  const layout = layOut(manifest)
  return { manifest, layout, found: scanTargets(manifest, layout, new Set(skip), statFiles) }
}

test.each([true, false])(
  'finds every entry, a directory before its content, when files are examined: %s',
  (statFiles) => {
    const paths = [...scanned(statFiles).found].map(([path, { kind }]) => `${kind} ${path.slice(data.length)}`)
    expect(paths.toSorted()).toEqual([
      'file /PG_VERSION',
      'file /base/1/1',
      'file /base/1/2',
      'file /base/1/20',
      'file /base/1/na\xefve',
      'file /base/file',
      'file /global/1',
      'link /base/1/link',
      'path ',
      'path /base',
      'path /base/1',
      // Not in the backup, so without its content.
      'path /base/9',
      'path /global',
    ])
    const isAfterParent = (path: string, index: number) => paths.indexOf(path) < index
    for (const [index, path] of paths.entries()) {
      const parent = path.slice(path.indexOf(' ') + 1, Math.max(path.lastIndexOf('/'), path.indexOf(' ') + 1))
      expect(isAfterParent(`path ${parent}`, index), path).toBe(index > 0)
    }
  },
)

test.each([true, false])(
  'finds an entry by its path, and its size and time when files are examined: %s',
  (statFiles) => {
    const { found } = scanned(statFiles, [join(data, 'base/1/2')])
    expect(found.get(join(data, 'base/1/1'))).toMatchObject({ kind: 'file', sizeBytes: statFiles ? 8 : 0 })
    expect(found.get(join(data, 'base/1'))).toMatchObject({ kind: 'path' })
    expect(found.get(join(data, 'base/1/link'))).toMatchObject({ kind: 'link', destination: '/etc/passwd' })
    expect(found.get(join(data, 'base/1/3'))).toBeUndefined()
    expect(found.get(join(data, 'base/1/2'))).toBeUndefined()
  },
)

test.each([true, false])(
  'a plan checks the files of the backup and removes all others when files are examined: %s',
  (statFiles) => {
    const { manifest, layout, found } = scanned(statFiles)
    const { files, remove } = planRestore(manifest, layout, found, { delta: true, force: false })
    const shown = [...files].map(({ path, action }) => `${action} ${path.slice(data.length)}`)
    expect(shown.toSorted()).toEqual([
      'check /PG_VERSION',
      'check /base/1/1',
      'check /base/1/2',
      'check /base/1/na\xefve',
      'create /global/2',
    ])
    expect(remove.map(({ path }) => path.slice(data.length)).toSorted()).toEqual([
      '/base/1/20',
      '/base/1/link',
      '/base/9',
      '/base/file',
      '/global/1',
    ])
  },
)
