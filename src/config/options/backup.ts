import { defineOptions } from '../option-row.ts'

/** What a backup does, apart from copying files. */
export const backupOptions = defineOptions({
  annotation: {
    summary: 'A key=value note kept with the backup; may be given several times.',
    type: 'hash',
    commands: ['annotate', 'backup'],
    for: { annotate: { required: true } },
  },
  'archive-check': {
    summary: 'Make sure that the WAL a backup needs is archived.',
    type: 'bool',
    commands: ['archive-push', 'backup', 'check'],
    default: 'y',
    for: { backup: { depend: { option: 'online', values: ['y'], otherwise: 'n' } } },
  },
  'archive-copy': {
    summary: 'Put the WAL a backup needs into the backup itself.',
    type: 'bool',
    commands: ['backup'],
    default: 'n',
    for: { backup: { depend: { option: 'archive-check', values: ['y'], otherwise: 'n' } } },
  },
  'archive-mode-check': {
    summary: 'Refuse archive_mode=always.',
    type: 'bool',
    commands: ['archive-push', 'backup', 'check'],
    default: 'y',
    depend: { option: 'archive-check', values: ['y'], otherwise: 'n' },
  },
  'backup-standby': {
    summary: 'Copy files from a standby instead of the primary; value only: without any primary.',
    type: 'enum',
    commands: ['backup', 'check'],
    choices: ['n', 'prefer', 'y', 'only'],
    default: 'n',
    boolLike: true,
  },
  'checksum-page': {
    summary: 'Check the page checksums of data files while copying.',
    type: 'bool',
    commands: ['backup'],
  },
  'checksum-page-error': {
    summary: 'Invalid page checksums are an error: backup stops, restore does not begin, expire removes nothing.',
    type: 'bool',
    commands: ['backup', 'expire', 'restore'],
    default: 'n',
    formerValues: {
      error: 'set page-error-exit=y, the new name: the backup is kept, and its exit code is 26',
      warn: 'remove the option: this is the default of backup',
    },
    for: { expire: { default: 'y' }, restore: { default: 'y' } },
  },
  exclude: {
    summary: 'A path below PGDATA to leave out; with a / at its end only the content of that directory.',
    type: 'list',
    commands: ['backup'],
  },
  'expire-auto': { summary: 'Run expire after a backup.', type: 'bool', commands: ['backup'], default: 'y' },
  'manifest-save-threshold': {
    summary: 'How much is copied before progress is saved for a later resume.',
    type: 'size',
    commands: ['backup'],
    range: ['1B', '1TiB'],
    default: '1GiB',
  },
  'page-error-exit': {
    summary: 'Keep a backup with invalid page checksums, but end with exit code 26 and without expire.',
    type: 'bool',
    commands: ['backup'],
    default: 'n',
  },
  'page-header-check': {
    summary: 'Check page headers, too.',
    type: 'bool',
    commands: ['backup'],
    default: 'y',
  },
  resume: {
    summary: 'Continue an interrupted backup.',
    type: 'bool',
    commands: ['backup'],
    default: 'y',
  },
  'start-fast': {
    summary: 'Begin with an immediate checkpoint instead of waiting for the next one.',
    type: 'bool',
    commands: ['backup'],
    default: 'n',
  },
  'stop-auto': {
    summary: 'Only used before PostgreSQL 9.6.',
    type: 'bool',
    commands: ['backup'],
    default: 'n',
    internal: true,
  },
})
