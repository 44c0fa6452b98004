import { defineOptions } from '../option-row.ts'

/** How a restore lays out the cluster and how PostgreSQL recovers it. */
export const restoreOptions = defineOptions({
  'archive-mode': {
    summary: 'Whether the restored cluster archives: as before, or not at all.',
    type: 'enum',
    commands: ['restore'],
    choices: ['off', 'preserve'],
    default: 'preserve',
  },
  'db-exclude': {
    summary: 'A database, by name or OID, whose files come back zeroed: it can only be dropped.',
    type: 'list',
    commands: ['restore'],
  },
  'db-include': {
    summary: 'A database to restore, by name or OID; all other databases of users come back zeroed.',
    type: 'list',
    commands: ['restore'],
  },
  'link-all': {
    summary: 'Restore every symbolic link as a link to where it pointed.',
    type: 'bool',
    commands: ['restore'],
    default: 'n',
  },
  'link-map': { summary: 'Restore one link to another place: name=path.', type: 'hash', commands: ['restore'] },
  'recovery-option': {
    summary: 'A setting for recovery: name=value.',
    type: 'hash',
    commands: ['restore'],
    depend: { option: 'type', values: ['default', 'immediate', 'lsn', 'name', 'time', 'standby', 'xid'] },
  },
  'repo-target-time': {
    summary: 'Read the repository as it was at this time, where the store keeps versions.',
    type: 'string',
    commands: ['archive-get', 'info', 'manifest', 'repo-get', 'repo-ls', 'restore', 'verify'],
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
