/** A setting to be written into a configuration file. */
export interface NewSetting {
  /** `repo-path`: the name without index. */
  readonly option: string
  /** Index of a repository or cluster; 0 for other options. */
  readonly key: number
  readonly value: string | number | boolean | readonly string[]
}

/** Settings that are added to a configuration. */
export interface ConfigChange {
  readonly global: readonly NewSetting[]
  readonly stanza: string
  readonly ofStanza: readonly NewSetting[]
}

/** Added in front of a new file. */
export const NEW_FILE_COMMENT = [
  'Written by pgts init, which also compares this file with the server.',
  '`pgts help COMMAND` lists the options of a command and their values.',
]
