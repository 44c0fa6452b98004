import { defineOptions } from '../option-row.ts'

/** How WAL is pushed and fetched. */
export const archiveOptions = defineOptions({
  'archive-async': {
    summary: 'Push and fetch WAL in the background, several segments at once.',
    type: 'bool',
    commands: ['archive-get', 'archive-push', 'doctor', 'init'],
    default: 'n',
  },
  'archive-get-queue-max': {
    summary: 'How much WAL is fetched ahead.',
    type: 'size',
    commands: ['archive-get'],
    range: ['0B', '4PiB'],
    default: '128MiB',
  },
  'archive-header-check': {
    summary: 'Check that a segment belongs to this cluster before it is stored.',
    type: 'bool',
    commands: ['archive-push'],
    default: 'y',
  },
  'archive-missing-retry': {
    summary: 'Search again for WAL that an earlier call did not find.',
    type: 'bool',
    commands: ['archive-get'],
    default: 'y',
  },
  'archive-push-batch-size': {
    summary: 'How much WAL one background run pushes at most.',
    type: 'size',
    commands: ['archive-push'],
    range: ['1MiB', '4PiB'],
    default: '16GiB',
  },
  'archive-push-queue-max': {
    summary: 'Drop waiting WAL if there is more than this, so that the disk of the server does not fill.',
    type: 'size',
    commands: ['archive-push', 'archive-status', 'doctor', 'metrics'],
    range: ['0B', '4PiB'],
    formerly: ['archive-queue-max'],
  },
  'archive-resident': {
    summary:
      'Answer calls of PostgreSQL from a process that stays for a minute, when WAL is not pushed and fetched in the background.',
    type: 'bool',
    commands: ['archive-get', 'archive-push'],
    default: 'y',
  },
})
