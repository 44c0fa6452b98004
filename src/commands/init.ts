import { restartText } from '../core/init/restart.ts'
import type { CommandContext } from './context.ts'
import { applySettings, childOptions, restartServer, step } from './init/apply.ts'
import { askConsents, type Consents } from './init/consents.ts'
import { makeNeeded, requireDirectories } from './init/directories.ts'
import { hasBackup, requireProgram, requireReachable } from './init/facts.ts'
import { makePlan, type Plan } from './init/plan.ts'
import type { InitPorts } from './init/ports.ts'
import { Questions } from './init/questions.ts'
import { Progress } from './init/progress.ts'
import type { InitReport } from './init/report.ts'
import { showPlan } from './init/show.ts'
import { writeConfig } from './init/write-config.ts'

/**
 * Sets up pgts for a cluster of this host: configuration, directories, settings of the server, stanza, first backup. Every
 * question is asked before anything is changed, and a second run only does what is missing.
 */
export async function init(ctx: CommandContext<'init'>, ports: InitPorts): Promise<InitReport> {
  const { dialogue } = ports
  const { dryRun, yes } = ctx.options
  const questions = new Questions(dialogue, yes || dryRun)
  const plan = await makePlan(ctx, ports, questions)
  await requireProgram(ctx, plan)
  const text = plan.change === undefined ? undefined : await plan.config.changed(plan.change)
  showPlan(dialogue, plan, plan.change === undefined ? undefined : await plan.config.shown(plan.change))
  const isBackedUp = text === undefined && (await hasBackup(ctx, plan))
  const consents = await askConsents(ctx, plan, questions, isBackedUp)
  questions.requireAnswers()
  dialogue.endQuestions()
  requireDirectories(plan.directories, plan.owner)

  const progress = new Progress(plan, consents, dryRun)
  if (dryRun) return progress.report()
  if (text !== undefined && !consents.writeConfig) return progress.withoutConfiguration()
  await requireReachable(ctx, plan, dialogue)
  makeNeeded(plan.directories, plan.owner)
  if (text !== undefined) {
    writeConfig(plan.config.path, text, plan.config.text, plan.owner)
    dialogue.say(`${plan.config.path} is written`)
  }
  try {
    await prepareServer(ctx, ports, plan, consents, progress)
  } catch (error) {
    dialogue.say('', ...progress.interrupted())
    throw error
  }
  return progress.report()
}

/** The order keeps the server from calling an archive_command that cannot work yet. */
async function prepareServer(
  ctx: CommandContext<'init'>,
  { dialogue }: InitPorts,
  plan: Plan,
  consents: Consents,
  progress: Progress,
): Promise<void> {
  await step(ctx, plan, dialogue, 'stanza-create')
  progress.done('stanza-create')
  if (consents.applySettings && plan.changes.length > 0) {
    progress.applyingSettings()
    dialogue.say(`alter system: ${plan.changes.map(({ name }) => name).join(', ')}`)
    await applySettings(ctx, plan, plan.changes)
    progress.settingsApplied()
  }
  if (progress.needsRestart && consents.restart) {
    dialogue.say(`$ ${restartText(plan.restart, process.geteuid?.() === 0, plan.owner.name)}`)
    await restartServer(ctx, plan, childOptions(ctx))
    progress.restarted()
  }
  if (!progress.archives) return
  await step(ctx, plan, dialogue, 'check')
  progress.done('check')
  if (await hasBackup(ctx, plan)) {
    progress.backupExists()
  } else if (consents.takeBackup) {
    await step(ctx, plan, dialogue, '--type=full', 'backup')
    progress.done('backup')
  }
}
