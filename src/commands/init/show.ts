import { isUnderPatroni, restartText } from '../../core/init/restart.ts'
import type { SettingChange } from '../../core/init/server-changes.ts'
import { bytesToText, textToBytes } from '../../util/byte-string.ts'
import type { Plan } from './plan.ts'
import type { Dialogue } from './ports.ts'

/** Shows what init would write and change; secrets are not shown. */
export function showPlan(dialogue: Dialogue, plan: Plan, lines: readonly string[] | undefined): void {
  const { config, directories, changes, differences } = plan
  if (lines === undefined) dialogue.say('', `${config.path} has stanza ${plan.stanza} already`)
  else
    dialogue.say(
      '',
      `${config.path} ${config.text === undefined ? '(new file)' : '(added lines)'}:`,
      ...lines.map((line) => `  ${line}`),
    )
  for (const difference of differences) dialogue.say(`  differs: ${difference}`)
  if (differences.length > 0) dialogue.say('  init does not change existing values: edit the file if they are wrong')
  const missing = directories.filter(({ exists }) => !exists)
  if (missing.length > 0)
    dialogue.say('', 'New directories:', ...missing.map(({ path, purpose }) => `  ${path} (${purpose})`))
  if (changes.length > 0) dialogue.say('', 'Settings of the server:', ...changes.flatMap(settingLines))
  else if (plan.archiver.kind === 'foreign')
    dialogue.say('', `archive_command is kept: ${plan.archiver.program} archives`)
  else dialogue.say('', 'The settings of the server are as needed')
  showProblems(dialogue, plan)
}

function settingLines({ name, from, to, isWritten, needsRestart, setIn }: SettingChange): string[] {
  const when = isWritten ? 'set, needs a restart' : needsRestart ? 'needs a restart' : 'needs a reload'
  const shown = (value: string) => (value === '' ? "''" : bytesToText(textToBytes(value)))
  const where = setIn === undefined ? [] : [`      now set in ${setIn}`]
  if (`${from}${to}`.length < 40) return [`  ${name}: ${shown(from)} -> ${shown(to)} (${when})`, ...where]
  return [`  ${name} (${when}):`, `      ${shown(from)}`, `   -> ${shown(to)}`, ...where]
}

function showProblems(dialogue: Dialogue, { changes, server, cluster, restart, owner }: Plan): void {
  const { canAlterSystem, alterSystemProblem } = server.configuration
  for (const { name } of changes.filter(({ fixed }) => fixed))
    dialogue.say(`  ${name} is on the command line of the server: change it where the server is started`)
  if (changes.length > 0 && isUnderPatroni(cluster.postmaster.parentArgs))
    dialogue.say('  Patroni manages this server: set them with patronictl edit-config')
  else if (changes.length > 0 && !canAlterSystem) {
    dialogue.say(`  ALTER SYSTEM cannot be used: ${alterSystemProblem ?? 'it is not allowed'}`)
    dialogue.say(`  set them in ${server.configuration.configFile}`)
  }
  if (changes.some(({ needsRestart }) => needsRestart))
    dialogue.say(`  restart: ${restartText(restart, process.geteuid?.() === 0, owner.name)}`)
  if (cluster.postmaster.pid === 1) dialogue.say('  the server is process 1: restart its container')
}
