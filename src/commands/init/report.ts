/** The report of init, printed as JSON with --output=json. Names are stable; members can be added. */
export interface InitReport {
  readonly stanza: string
  /** True with --dry-run: states are `planned` where something would be done. */
  readonly dryRun: boolean
  /** True if the server archives with pgts and a backup exists. */
  readonly complete: boolean
  readonly cluster: {
    readonly path: string
    readonly version: string
    readonly port: number
    readonly socketPath: string
    /** The operating-system user of the server, as which pgts must run. */
    readonly user: string
  }
  readonly configuration: {
    readonly path: string
    readonly state: ConfigurationState
    /** What differs between an existing file and the server or the options of this run. */
    readonly differences: readonly string[]
  }
  readonly directories: readonly {
    readonly path: string
    readonly purpose: Purpose
    readonly state: 'exists' | 'created' | 'planned'
  }[]
  readonly server: {
    /** What archive_command calls: `none`, `pgts`, or the program that was found. */
    readonly archiver: string
    readonly settings: readonly {
      readonly name: string
      readonly from: string
      readonly to: string
      readonly needsRestart: boolean
      /** Where the present value is set; null for a default. */
      readonly setIn: string | null
      readonly state: 'applied' | 'written' | 'planned' | 'not applied'
    }[]
    readonly restart: { readonly state: StepState; readonly command: string | null }
  }
  readonly steps: readonly { readonly name: StepName; readonly state: StepState; readonly reason: string | null }[]
  /** What is left to do, as commands and sentences. */
  readonly next: readonly string[]
}

export type ConfigurationState = 'written' | 'extended' | 'unchanged' | 'declined' | 'planned'
export type Purpose = 'configuration' | 'repository' | 'log' | 'lock' | 'spool'
export type StepName = 'stanza-create' | 'check' | 'backup'
export type StepState = 'done' | 'planned' | 'pending' | 'not needed' | 'declined'
