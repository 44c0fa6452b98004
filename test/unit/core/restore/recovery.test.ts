import { describe, expect, test } from 'vitest'
import {
  quoteSetting,
  recoverySettings,
  restoreCommand,
  settingsText,
  updatedAutoConf,
  type RecoveryPolicy,
} from '../../../../src/core/restore/recovery.ts'
import { isPgtsError } from '../../../../src/util/error.ts'

const policy = (more: Partial<RecoveryPolicy> = {}): RecoveryPolicy => ({
  type: 'default',
  targetExclusive: false,
  archiveMode: 'preserve',
  options: new Map(),
  restoreCommand: 'rc',
  ...more,
})
const lines = (more: Partial<RecoveryPolicy>, major = 15) =>
  [...recoverySettings(policy(more), major)].map(([key, value]) => `${key}=${value}`)

describe('the settings of a recovery', () => {
  test.each([
    ['default', {}, 15, ['restore_command=rc']],
    ['none', { type: 'none' }, 15, []],
    ['none ignores archive-mode', { type: 'none', archiveMode: 'off' }, 15, []],
    ['preserve', { type: 'preserve' }, 15, []],
    ['standby', { type: 'standby' }, 15, ['restore_command=rc']],
    ['standby before 12', { type: 'standby' }, 11, ['restore_command=rc', 'standby_mode=on']],
    [
      'immediate',
      { type: 'immediate' },
      15,
      ['restore_command=rc', 'recovery_target=immediate', 'recovery_target_timeline=current'],
    ],
    ['immediate before 12', { type: 'immediate' }, 11, ['restore_command=rc', 'recovery_target=immediate']],
    ['time', { type: 'time', target: 'T' }, 15, ['restore_command=rc', 'recovery_target_time=T']],
    ['lsn', { type: 'lsn', target: '0/1' }, 15, ['restore_command=rc', 'recovery_target_lsn=0/1']],
    [
      'xid, exclusive, promote',
      { type: 'xid', target: '7', targetExclusive: true, targetAction: 'promote' },
      15,
      [
        'restore_command=rc',
        'recovery_target_xid=7',
        'recovery_target_inclusive=false',
        'recovery_target_action=promote',
      ],
    ],
    [
      'name; pause is the default',
      { type: 'name', target: 'n', targetAction: 'pause' },
      15,
      ['restore_command=rc', 'recovery_target_name=n'],
    ],
    ['timeline', { targetTimeline: '3' }, 15, ['restore_command=rc', 'recovery_target_timeline=3']],
    ['timeline current', { targetTimeline: 'current' }, 12, ['restore_command=rc', 'recovery_target_timeline=current']],
    ['timeline current before 12 is not written', { targetTimeline: 'current' }, 11, ['restore_command=rc']],
    ['archive-mode off comes first', { archiveMode: 'off' }, 12, ['archive_mode=off', 'restore_command=rc']],
    [
      'options of recovery-option first, sorted; - becomes _',
      {
        options: new Map([
          ['recovery-min-apply-delay', '5s'],
          ['a', '1'],
        ]),
      },
      15,
      ['a=1', 'recovery_min_apply_delay=5s', 'restore_command=rc'],
    ],
    [
      'quotes that are doubled for the configuration file are single quotes, others are themselves',
      {
        options: new Map([
          ['restore-command', "cp ''/a b/%f'' %p"],
          ['recovery_end_command', "echo 'it''s'"],
        ]),
      },
      15,
      ["recovery_end_command=echo 'it''s'", "restore_command=cp '/a b/%f' %p"],
    ],
    [
      'a restore_command of recovery-option replaces the default',
      { options: new Map([['restore-command', 'cp %f %p']]) },
      15,
      ['restore_command=cp %f %p'],
    ],
  ] as [string, Partial<RecoveryPolicy>, number, string[]][])('%s', (_, more, major, expected) => {
    expect(lines(more, major)).toEqual(expected)
  })

  test.each([
    ['archive-mode off before 12', { archiveMode: 'off' }, 11, 'option-invalid', 'archive_mode'],
    ['standby_mode from 12 on', { options: new Map([['standby-mode', 'on']]) }, 12, 'option-invalid', '--type=standby'],
    ['an invalid setting name', { options: new Map([["x = '1'\ny", '1']]) }, 15, 'option-invalid', ''],
    ['a target type without target', { type: 'time' }, 15, 'option-required', '--target'],
    [
      'a setting that recovery.conf does not know, before 12',
      { options: new Map([['work_mem', '1MB']]) },
      11,
      'option-invalid',
      'postgresql.conf',
    ],
    ['trigger_file from 12 on', { options: new Map([['trigger-file', '/x']]) }, 12, 'option-invalid', 'promote'],
    [
      'promote_trigger_file from 16 on',
      { options: new Map([['promote-trigger-file', '/x']]) },
      16,
      'option-invalid',
      'promote',
    ],
    ['a line break in a target', { type: 'name', target: 'a\nb' }, 15, 'option-invalid-value', ''],
    ['a line break in a setting', { options: new Map([['work_mem', '1\n2']]) }, 15, 'option-invalid-value', ''],
    [
      'a second target',
      { type: 'time', target: 'T', options: new Map([['recovery-target-xid', '7']]) },
      15,
      'option-invalid',
      'recovery-option',
    ],
    [
      'an invalid transaction id in a setting',
      { options: new Map([['recovery_target_xid', 'abc']]) },
      15,
      'option-invalid-value',
      '--type=name',
    ],
  ] as [string, Partial<RecoveryPolicy>, number, string, string][])('%s is refused', (_, more, major, code, hint) => {
    try {
      lines(more, major)
    } catch (error) {
      expect(isPgtsError(error) && error.code).toBe(code)
      expect(isPgtsError(error) && error.hints.join()).toContain(hint)
      return
    }
    throw new Error('no error was thrown')
  })
})

test('values are quoted for the parser of postgresql.conf', () => {
  expect(quoteSetting(`it's a \\ "test"`)).toBe(`'it''s a \\\\ "test"'`)
  expect(() => quoteSetting('a\nb')).toThrow(/line break/)
  expect(settingsText(new Map([['a', "o'b"]]), 'NOW')).toBe(
    "# Recovery settings generated by pgts restore on NOW\na = 'o''b'\n",
  )
})

describe('the restore command', () => {
  test('has the given options before the command', () => {
    expect(restoreCommand('/usr/bin/pgts', ['--config=/etc/pgts/pgts.yaml', '--stanza=main'])).toBe(
      '/usr/bin/pgts --config=/etc/pgts/pgts.yaml --stanza=main archive-get %f "%p"',
    )
  })
  test('quotes characters that a shell would interpret, and doubles % for PostgreSQL', () => {
    expect(restoreCommand('/opt/my tools/pgts', ["--pg1-path=/data/it's $HOME", '--stanza=100%'])).toBe(
      `"/opt/my tools/pgts" "--pg1-path=/data/it's \\$HOME" --stanza=100%% archive-get %f "%p"`,
    )
  })
})

describe('postgresql.auto.conf', () => {
  const old =
    "# Do not edit\nwork_mem = '4MB'\nrecovery_target_time = 'x'\n recovery_target='immediate'\nrecovery_target_actions = 1\n"

  test('keeps its settings except the targets of an earlier recovery', () => {
    expect(updatedAutoConf(old, new Map([['restore_command', 'rc']]), 'NOW')).toBe(
      "# Do not edit\nwork_mem = '4MB'\n# Removed by pgts restore on NOW # recovery_target_time = 'x'\n" +
        "# Removed by pgts restore on NOW #  recovery_target='immediate'\nrecovery_target_actions = 1\n\n" +
        "# Recovery settings generated by pgts restore on NOW\nrestore_command = 'rc'\n",
    )
  })
  test('with type none loses old targets and gets no new settings', () => {
    expect(updatedAutoConf("a = 1\nrecovery_target_xid = '1'\n", undefined, 'NOW')).toBe(
      "a = 1\n# Removed by pgts restore on NOW # recovery_target_xid = '1'\n",
    )
  })
  test('is created when it is missing', () => {
    expect(updatedAutoConf(undefined, new Map([['a', '1']]), 'NOW')).toBe(
      "# Recovery settings generated by pgts restore on NOW\na = '1'\n",
    )
  })
  test('is not changed by a second restore that has nothing to comment out', () => {
    const once = updatedAutoConf(old, undefined, 'NOW')
    expect(updatedAutoConf(once, undefined, 'LATER')).toBe(once)
  })
})
