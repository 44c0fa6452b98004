import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { recoveryMode } from '../../../src/postgres/recovery-mode.ts'

function modeOf(files: Readonly<Record<string, string>>): string {
  const dir = mkdtempSync(join(tmpdir(), 'pgts-mode-'))
  try {
    for (const [name, content] of Object.entries(files)) writeFileSync(join(dir, name), content)
    return recoveryMode(dir)
  } finally {
    rmSync(dir, { recursive: true })
  }
}

test.each([
  ['none', {}],
  ['archive-recovery', { 'recovery.signal': '' }],
  ['standby', { 'standby.signal': '' }],
  ['standby', { 'standby.signal': '', 'recovery.signal': '' }],
  ['archive-recovery', { 'recovery.conf': "restore_command = 'x'\n" }],
  ['standby', { 'recovery.conf': "restore_command = 'x'\nstandby_mode = 'on'\n" }],
  ['standby', { 'recovery.conf': ' Standby_Mode on # yes\n' }],
  ['standby', { 'recovery.conf': "standby_mode='TRUE'" }],
  ['archive-recovery', { 'recovery.conf': "#standby_mode = 'on'\n" }],
  ['archive-recovery', { 'recovery.conf': "standby_mode = 'off'\n" }],
  ['archive-recovery', { 'recovery.conf': "standby_mode = 'on'\nstandby_mode = 'off'\n" }],
  ['archive-recovery', { 'recovery.conf': "standby_mode = ''\n" }],
  ['none', { 'recovery.done': "standby_mode = 'on'\n" }],
])('%s: %j', (mode, files) => {
  expect(modeOf(files)).toBe(mode)
})

test('a missing directory is not in recovery', () => {
  expect(recoveryMode('/no/such/directory')).toBe('none')
})
