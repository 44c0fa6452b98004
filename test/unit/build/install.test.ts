import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { projectRoot } from '../../support/processes/test-user.ts'

const scratch = mkdtempSync(join(tmpdir(), 'pgts-install-'))
afterAll(() => rmSync(scratch, { recursive: true }))

interface Package {
  readonly dependencies: Readonly<Record<string, string>>
  readonly optionalDependencies: Readonly<Record<string, string>>
  readonly scripts: Readonly<Record<string, string>>
}
const installed = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as Package

test('prepare prints the commands that build, and succeeds, when development packages are missing', () => {
  expect(installed.scripts['prepare']).toBe('node scripts/prepare.mjs')
  cpSync(join(projectRoot, 'scripts'), join(scratch, 'scripts'), { recursive: true })
  const { status, stdout, stderr } = spawnSync(process.execPath, ['scripts/prepare.mjs'], {
    cwd: scratch,
    encoding: 'utf8',
  })
  expect([status, stdout]).toEqual([0, ''])
  expect(stderr).toBe(
    'pgts: dist/ was not built (development packages are missing); run: npm ci && npm run build && npm prune --omit=dev\n',
  )
})

test('package.json has as dependencies the packages that are not bundled', () => {
  expect(Object.keys(installed.dependencies)).toEqual(['koffi'])
  // Optional: npm continues without it when it can be neither downloaded nor compiled.
  expect(Object.keys(installed.optionalDependencies)).toEqual(['zstd-napi'])
})
