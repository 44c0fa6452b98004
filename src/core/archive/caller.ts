/** What calls us: settings that PostgreSQL runs later must name the program by its path, because a server has a short PATH. */
export interface Caller {
  /** Absolute path of pgts. */
  readonly program: string
  readonly stanza: string
}

/** The line of postgresql.conf, for hints. */
export function archiveCommandLine({ program, stanza }: Caller): string {
  return `archive_command = '${program} --stanza=${stanza} archive-push %p'`
}

export function restoreCommandLine({ program, stanza }: Caller): string {
  return `restore_command = '${program} --stanza=${stanza} archive-get %f "%p"'`
}
