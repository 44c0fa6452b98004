import { wordsOfCommand } from '../archive/status/archive-program.ts'

/** What a server archives with now. */
export type Archiver =
  | { readonly kind: 'none' }
  /** pgts (or pgbackrest with a shared configuration) for this stanza. */
  | { readonly kind: 'own' }
  /** The command succeeds and stores nothing. */
  | { readonly kind: 'discards'; readonly command: string }
  | { readonly kind: 'foreign'; readonly program: string; readonly command: string; readonly meaning: string }

export interface WantedArchiver {
  /** The command that init would set. */
  readonly command: string
  readonly stanza: string
  /** `--config` in the command; undefined for the default configuration. */
  readonly config?: string
  /** pgbackrest reads the same configuration file. */
  readonly shared: boolean
}

/** Programs by the name of their executable, and what it means to call pgts in their place. */
const KNOWN: readonly (readonly [pattern: RegExp, program: string, meaning: string])[] = [
  [
    /^pgbackrest$/,
    'pgBackRest',
    'its repository gets no more WAL: its backups can only be restored up to this moment. To share one repository, use its configuration: pgts --config=/etc/pgbackrest/pgbackrest.conf init',
  ],
  [
    /^wal-g(-pg)?$|^wal-e$/,
    'WAL-G',
    'its storage gets no more WAL: its backups can only be restored up to this moment. Keep them until pgts has a backup',
  ],
  [
    /^barman/,
    'Barman',
    'Barman gets no more WAL by archive_command: its backups can only be restored up to this moment, and barman check reports an error, unless it streams WAL',
  ],
  [/^pg_probackup/, 'pg_probackup', 'its catalog gets no more WAL: its backups can only be restored up to this moment'],
  [/^pgmoneta/, 'pgmoneta', 'pgmoneta gets no more WAL by archive_command'],
  [
    /^(cp|rsync|scp|mv|install|dd|gzip|zstd|lz4|tar|test|\[)$/,
    'a copy command',
    'no more WAL is copied to its target: backups and standbys that read WAL from there can only be recovered up to this moment',
  ],
]

const UNKNOWN =
  'what it does with WAL is not known to pgts: backups and standbys that depend on it get no more WAL from this server'

/** Commands that report success without storing anything. */
const DISCARDS = /^\s*(?:(?:\/usr)?\/bin\/true|true|:|exit\s+0|\(disabled\))\s*$/

/**
 * @param command archive_command
 * @param library archive_library, '' if not set
 */
export function identifyArchiver(command: string, library: string, wanted: WantedArchiver): Archiver {
  if (library !== '') {
    const meaning = `archive_library is set, so PostgreSQL calls no archive_command: what depends on the library gets no more WAL`
    return { kind: 'foreign', program: `archive_library ${library}`, command: library, meaning }
  }
  if (command.trim() === '') return { kind: 'none' }
  if (command === wanted.command) return { kind: 'own' }
  if (DISCARDS.test(command)) return { kind: 'discards', command }
  const words = wordsOfCommand(command).filter(({ assigns }) => !assigns)
  if (isOwn(words, wanted)) return { kind: 'own' }
  const names = words.map(({ text }) => text.slice(text.lastIndexOf('/') + 1))
  if (names.includes('pgts')) {
    const meaning = 'pgts already archives this server with other options: the repository of that call gets no more WAL'
    return { kind: 'foreign', program: 'pgts', command, meaning }
  }
  const known = KNOWN.find(([pattern]) => names.some((name) => pattern.test(name)))
  const [, program, meaning] = known ?? [, names[0] ?? 'a shell command', UNKNOWN]
  return { kind: 'foreign', program, command, meaning }
}

/** True if a word is pgts, or pgbackrest with the shared configuration, followed by this stanza and archive-push. */
function isOwn(words: readonly { readonly text: string }[], { stanza, config, shared }: WantedArchiver): boolean {
  const texts = words.map(({ text }) => text)
  const program = texts.find((text) => /(?:^|\/)(?:pgts|pgbackrest)$/.test(text))
  if (program === undefined || (program.endsWith('pgbackrest') && !shared)) return false
  const option = (name: string) =>
    texts.flatMap((text, at) =>
      text.startsWith(`--${name}=`) ? [text.slice(name.length + 3)] : text === `--${name}` ? [texts[at + 1] ?? ''] : [],
    )[0]
  return texts.includes('archive-push') && option('stanza') === stanza && (option('config') ?? config) === config
}
