import { defineOptions } from '../option-row.ts'

/** Commands for /bin/sh that pgts runs, with JSON on their standard input. */
export const hookOptions = defineOptions({
  'hook-archive-failure': {
    summary:
      'Command to run when archiving begins to fail, at growing intervals while it fails, and when it works again.',
    type: 'string',
    commands: ['archive-push'],
  },
  'hook-backup-after': {
    summary: 'Command to run after a backup, also after one that failed.',
    type: 'string',
    commands: ['backup'],
  },
  'hook-backup-before': {
    summary: 'Command to run before a backup.',
    type: 'string',
    commands: ['backup'],
  },
  'hook-backup-required': {
    summary: 'Take no backup if hook-backup-before fails.',
    type: 'bool',
    commands: ['backup'],
    default: 'n',
    depend: { option: 'hook-backup-before', otherwise: 'n' },
  },
  'hook-doctor': {
    summary: 'Command to run when doctor has found errors or warnings.',
    type: 'string',
    commands: ['doctor'],
  },
  'hook-drill-after': {
    summary: 'Command to run after a drill, also after one that failed.',
    type: 'string',
    commands: ['drill'],
  },
  'hook-timeout': {
    summary: 'How long a hook may take before it is ended.',
    type: 'time',
    commands: ['archive-push', 'backup', 'doctor', 'drill'],
    range: ['100ms', '1d'],
    default: '1m',
  },
})
