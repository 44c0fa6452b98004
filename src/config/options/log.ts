import { ANY, REPO, defineOptions } from '../option-row.ts'
import { LOG_FORMATS, LOG_LEVELS } from '../../util/log.ts'

/** Destinations and levels of log messages. */
export const logOptions = defineOptions({
  'log-format': {
    summary: "Form of log lines: pgBackRest's lines for people, or one JSON object a line for programs.",
    type: 'enum',
    commands: ANY,
    choices: LOG_FORMATS,
    default: 'text',
  },
  'log-level-console': {
    summary: 'Level of messages on standard output.',
    type: 'enum',
    commands: ANY,
    choices: LOG_LEVELS,
    default: 'warn',
  },
  'log-level-file': {
    summary: 'Level of messages in the log file.',
    type: 'enum',
    commands: ANY,
    choices: LOG_LEVELS,
    default: 'info',
  },
  'log-level-stderr': {
    summary: 'Level of messages on standard error; those are not written to standard output.',
    type: 'enum',
    commands: ANY,
    choices: LOG_LEVELS,
    default: 'off',
  },
  'log-path': {
    summary: 'Directory of the log files.',
    type: 'path',
    commands: ANY,
    default: { yaml: '/var/log/pgts', ini: '/var/log/pgbackrest' },
  },
  'log-subprocess': {
    summary: 'Child processes write log files too.',
    type: 'bool',
    commands: REPO,
    default: 'n',
    support: 'warn',
  },
  'log-timestamp': { summary: 'Begin lines with the time.', type: 'bool', commands: ANY, default: 'y' },
})
