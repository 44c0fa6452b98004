import { isUnderPatroni } from '../../core/init/restart.ts'
import type { CommandContext } from '../context.ts'
import type { Plan } from './plan.ts'
import type { Questions } from './questions.ts'

/** What init may change. */
export interface Consents {
  readonly writeConfig: boolean
  readonly applySettings: boolean
  readonly restart: boolean
  readonly takeBackup: boolean
}

/** Asks only for what the plan has to do. */
export async function askConsents(
  ctx: CommandContext<'init'>,
  plan: Plan,
  questions: Questions,
  isBackedUp: boolean,
): Promise<Consents> {
  const { options, isSet } = ctx
  const given = (name: string, value: boolean) => (isSet(name) ? value : undefined)
  const { cluster, config, change, changes, server } = plan
  const writeConfig =
    change !== undefined &&
    (await questions.consent({
      flag: '--write-config',
      text: config.text === undefined ? `Write ${config.path}?` : `Add this to ${config.path}?`,
      given: given('write-config', options.writeConfig),
      proposal: true,
    }))
  const toApply = changes.filter(({ isWritten }) => !isWritten)
  const isPatroni = isUnderPatroni(cluster.postmaster.parentArgs)
  const canApply =
    toApply.length > 0 && server.configuration.canAlterSystem && !isPatroni && !toApply.some(({ fixed }) => fixed)
  const applySettings =
    canApply &&
    (await questions.consent({
      flag: '--apply-settings',
      text: 'Change these settings by ALTER SYSTEM?',
      given: given('apply-settings', options.applySettings),
      proposal: true,
    }))
  const mayNeedRestart = changes.some(({ needsRestart }) => needsRestart) && (applySettings || toApply.length === 0)
  const restart =
    mayNeedRestart &&
    isRunnable(plan) &&
    (await questions.consent({
      flag: '--apply-restart',
      text: 'Restart the server now, which ends all connections?',
      given: given('apply-restart', options.applyRestart),
      proposal: false,
    }))
  const takeBackup =
    !isBackedUp &&
    (await questions.consent({
      flag: '--take-backup',
      text: 'Make the first backup when the server archives?',
      given: given('take-backup', options.takeBackup),
      proposal: true,
    }))
  return { writeConfig, applySettings, restart, takeBackup }
}

/** Can this user run the command of the restart? */
function isRunnable({ restart }: Plan): boolean {
  return restart.runnable && (restart.as !== 'root' || process.geteuid?.() === 0)
}
