import { ANY, defineOptions } from '../option-row.ts'

/** Options of the process that serves a command on another host. */
export const childProcessOptions = defineOptions({
  'exec-id': {
    summary: 'Identifies one run to its processes on other hosts.',
    type: 'string',
    section: 'command-line',
    commands: ANY,
    internal: true,
  },
  lock: {
    // pgts requests locks over the connection. pgbackrest gives this option before it reads the greeting of pgts.
    summary: 'Lock files that a remote process takes.',
    type: 'list',
    section: 'command-line',
    commands: ANY,
    roles: ['remote'],
    internal: true,
  },
  process: {
    summary: 'Number of the connection that a remote process serves.',
    type: 'int',
    section: 'command-line',
    commands: ANY,
    roles: ['remote'],
    range: [0, 1024],
    internal: true,
  },
  'remote-type': {
    summary: 'What a remote process serves.',
    type: 'enum',
    section: 'command-line',
    commands: ANY,
    roles: ['remote'],
    choices: ['pg', 'repo'],
    internal: true,
  },
})
