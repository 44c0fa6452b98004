import { restartText } from '../../core/init/restart.ts'
import { alterSystemStatement } from '../../postgres/archive-settings.ts'
import type { Consents } from './consents.ts'
import type { Plan } from './plan.ts'
import type { ConfigurationState, InitReport, StepName, StepState } from './report.ts'

type SettingState = InitReport['server']['settings'][number]['state']

/** What this run has done, and the report about it. */
export class Progress {
  readonly #plan: Plan
  readonly #consents: Consents
  readonly #dryRun: boolean
  readonly #steps = new Map<StepName, StepState>()
  readonly #reasons = new Map<StepName, string>()
  #isApplying = false
  #isApplied = false
  #isRestarted = false

  constructor(plan: Plan, consents: Consents, dryRun: boolean) {
    this.#plan = plan
    this.#consents = consents
    this.#dryRun = dryRun
  }

  done(name: StepName): void {
    this.#steps.set(name, 'done')
  }

  applyingSettings(): void {
    this.#isApplying = true
  }

  settingsApplied(): void {
    this.#isApplied = true
  }

  restarted(): void {
    this.#isRestarted = true
  }

  backupExists(): void {
    this.#steps.set('backup', 'not needed')
    this.#reasons.set('backup', 'the repository has a backup')
  }

  /** A setting waits for a restart. */
  get needsRestart(): boolean {
    return (
      !this.#isRestarted &&
      this.#plan.changes.some((change) => change.needsRestart && (this.#isApplied || change.isWritten))
    )
  }

  /** The server archives to the repository. */
  get archives(): boolean {
    const { changes, archiver } = this.#plan
    if (
      archiver.kind === 'foreign' &&
      !changes.some(({ name }) => name === 'archive_command' || name === 'archive_library')
    )
      return false
    return changes.every(
      (change) => (this.#isApplied || change.isWritten) && (!change.needsRestart || this.#isRestarted),
    )
  }

  withoutConfiguration(): InitReport {
    this.#steps.set('stanza-create', 'declined')
    return this.report()
  }

  /** For a run that fails, or is ended by ^C, after the configuration is written. */
  interrupted(): string[] {
    const { changes, config, change } = this.#plan
    const { applySettings, restart, takeBackup } = this.#consents
    const needsRestart = changes.some((one) => one.needsRestart)
    const settings = 'settings of the server'
    const steps: readonly (readonly [string, isWanted: boolean, isDone: boolean])[] = [
      [config.path, change !== undefined, true],
      ['stanza-create', true, this.#steps.get('stanza-create') === 'done'],
      [
        this.#isApplying && !this.#isApplied ? `${settings} (some may be written)` : settings,
        applySettings && changes.length > 0,
        this.#isApplied,
      ],
      ['restart', restart && needsRestart, this.#isRestarted],
      ['check', true, this.#steps.get('check') === 'done'],
      ['backup', takeBackup, this.#steps.get('backup') === 'done'],
    ]
    const names = (isDone: boolean) =>
      steps.filter(([, isWanted, done]) => isWanted && done === isDone).map(([name]) => name)
    const done = names(true)
    return [
      'init is not complete.',
      ...(done.length === 0 ? [] : [`  done: ${done.join(', ')}`]),
      `  not done: ${names(false).join(', ')}`,
      'Run init again: it does what is missing.',
    ]
  }

  report(): InitReport {
    const { plan, dryRun } = { plan: this.#plan, dryRun: this.#dryRun }
    const { cluster, owner, server, config, stanza } = plan
    const backup = this.#steps.get('backup')
    return {
      stanza,
      dryRun,
      complete: !dryRun && this.archives && (backup === 'done' || backup === 'not needed'),
      cluster: {
        path: server.dataDirectory,
        version: cluster.version,
        port: server.port,
        socketPath: server.socketDirectory,
        user: owner.name,
      },
      configuration: { path: config.path, state: this.#configuration(), differences: plan.differences },
      directories: plan.directories.map(({ path, purpose, exists }) => ({
        path,
        purpose,
        state: exists ? 'exists' : dryRun || this.#steps.get('stanza-create') !== 'done' ? 'planned' : 'created',
      })),
      server: {
        archiver:
          plan.archiver.kind === 'foreign' ? plan.archiver.program : plan.archiver.kind === 'own' ? 'pgts' : 'none',
        settings: plan.changes.map(({ name, from, to, needsRestart, setIn, isWritten }) => ({
          name,
          from,
          to,
          needsRestart,
          setIn: setIn ?? null,
          state: this.#setting(isWritten, needsRestart),
        })),
        restart: { state: this.#restart(), command: this.#restartCommand() },
      },
      steps: (['stanza-create', 'check', 'backup'] as const).map((name) => this.#step(name)),
      next: this.#next(),
    }
  }

  #configuration(): ConfigurationState {
    const { change, config } = this.#plan
    if (change === undefined) return 'unchanged'
    if (this.#dryRun) return 'planned'
    if (!this.#consents.writeConfig) return 'declined'
    return config.text === undefined ? 'written' : 'extended'
  }

  #setting(isWritten: boolean, needsRestart: boolean): SettingState {
    if (this.#dryRun) return 'planned'
    if (!this.#isApplied && !isWritten) return 'not applied'
    return needsRestart && !this.#isRestarted ? 'written' : 'applied'
  }

  #restart(): StepState {
    if (this.#isRestarted) return 'done'
    if (!this.#plan.changes.some(({ needsRestart }) => needsRestart)) return 'not needed'
    return this.#dryRun ? 'planned' : 'pending'
  }

  #restartCommand(): string | null {
    const { changes, restart, owner } = this.#plan
    if (!changes.some(({ needsRestart }) => needsRestart)) return null
    return restartText(restart, process.geteuid?.() === 0, owner.name)
  }

  #step(name: StepName): InitReport['steps'][number] {
    const declined = name === 'backup' && !this.#consents.takeBackup ? 'declined' : undefined
    const state = this.#steps.get(name) ?? (this.#dryRun ? 'planned' : (declined ?? 'pending'))
    return { name, state, reason: this.#reasons.get(name) ?? null }
  }

  /** What the operator does next, in order. */
  #next(): string[] {
    const { changes, archiver, server, stanza, configArguments, repository, config } = this.#plan
    if (this.#dryRun) return ['run init without --dry-run']
    const pgts = ['pgts', ...configArguments].join(' ')
    const open = changes.filter(({ isWritten }) => !isWritten && !this.#isApplied)
    return [
      ...(this.#configuration() === 'declined' ? [`write ${config.path}, then run init again`] : []),
      ...open.map(({ name, to }) => `${alterSystemStatement(name, to)};`),
      ...(open.length > 0 ? ['select pg_reload_conf();'] : []),
      ...(this.#restart() === 'pending' ? [`restart the server: ${this.#restartCommand() ?? ''}`] : []),
      ...(archiver.kind === 'foreign' && !this.archives && open.length === 0
        ? [`let pgts archive: init --replace-archive-command, or keep ${archiver.program}`]
        : []),
      ...(this.archives ? [] : [`run init again: ${pgts} --stanza=${stanza} init`]),
      ...(repository?.hasNewPassphrase === true && this.#configuration() === 'written'
        ? [`keep a copy of ${config.path} on another host: without its passphrase no backup can be restored`]
        : []),
      ...(this.archives && this.#step('backup').state === 'declined'
        ? [`make a backup: ${pgts} --stanza=${stanza} --type=full backup`]
        : []),
      ...(this.archives ? [`schedule backups, as ${this.#plan.owner.name}: docs/guide/cron.md`] : []),
      ...(server.configuration.settings.wal_level?.value === 'minimal' ? [] : []),
    ]
  }
}
