import { ANY, defineOptions } from '../option-row.ts'

/** Options between pgbackrest and its child processes; pgts uses threads instead. */
export const childProcessOptions = defineOptions({
  'exec-id': {
    summary: 'Identifies one run to its child processes.',
    type: 'string',
    section: 'command-line',
    commands: ANY,
    internal: true,
    support: 'warn',
  },
  lock: {
    summary: 'Lock files that a remote process takes.',
    type: 'list',
    section: 'command-line',
    commands: [],
    internal: true,
    support: 'refuse',
  },
  process: {
    summary: 'Number of a child process.',
    type: 'int',
    section: 'command-line',
    commands: [],
    range: [0, 1024],
    internal: true,
    support: 'refuse',
  },
  'remote-type': {
    summary: 'What a remote process serves.',
    type: 'enum',
    section: 'command-line',
    commands: [],
    choices: ['pg', 'repo'],
    internal: true,
    support: 'refuse',
  },
})
