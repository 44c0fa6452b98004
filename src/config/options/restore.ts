import { defineOptions } from '../option-row.ts'

/** How a restore lays out the cluster and how PostgreSQL recovers it. */
export const restoreOptions = defineOptions({
  'archive-mode': {
    summary: 'Whether the restored cluster archives: as before (also if it is a copy), or not at all.',
    type: 'enum',
    commands: ['restore'],
    choices: ['off', 'preserve'],
    default: 'preserve',
  },
  'db-exclude': {
    summary: 'A database, by name or OID, whose files are restored as zeros: it can only be dropped.',
    type: 'list',
    commands: ['restore'],
  },
  'db-include': {
    summary: 'A database to restore, by name or OID; the files of all other user databases are restored as zeros.',
    type: 'list',
    commands: ['restore'],
  },
  'drill-path': {
    summary: 'Directory below which a drill restores: DRILL-PATH/STANZA.',
    type: 'path',
    commands: ['drill'],
    default: '/var/tmp/pgts-drill',
  },
  'find-target': {
    summary: 'Look up the target in the archived WAL: choose the backup by it, and refuse an unknown one.',
    type: 'bool',
    commands: ['restore'],
    default: 'n',
    depend: { option: 'type', values: ['name', 'time', 'xid'] },
  },
  'link-all': {
    summary: 'Restore every symbolic link with its destination.',
    type: 'bool',
    commands: ['restore'],
    default: 'n',
  },
  'link-map': { summary: 'Restore one link with another destination: name=path.', type: 'hash', commands: ['restore'] },
  'recovery-option': {
    summary: 'A setting for recovery: name=value.',
    type: 'hash',
    commands: ['drill', 'restore'],
    depend: { option: 'type', values: ['default', 'immediate', 'lsn', 'name', 'time', 'standby', 'xid'] },
  },
  'repo-target-time': {
    summary: 'Read the repository as it was at this time, where the store keeps versions.',
    type: 'string',
    commands: ['archive-get', 'drill', 'info', 'manifest', 'repo-get', 'repo-ls', 'restore', 'verify'],
  },
  'restore-check': {
    summary: 'Do not begin a restore that cannot work: missing WAL, a target that is not archived, a full disk.',
    type: 'bool',
    commands: ['move-target', 'restore'],
    default: 'y',
  },
  'restart-cmd': {
    summary: 'Shell command that restarts the server, for example systemctl restart postgresql.',
    type: 'string',
    section: 'stanza',
    commands: ['move-target'],
  },
  'tablespace-map': {
    summary: 'Restore one tablespace to another place: name or OID=path.',
    type: 'hash',
    commands: ['restore'],
  },
  'tablespace-map-all': {
    summary: 'Restore every tablespace below this directory.',
    type: 'string',
    commands: ['restore'],
  },
})
