import { loadModule } from '../../util/load-module.ts'
import type { Setting } from '../setting.ts'
import { isYaml, systemFiles, type ConfigFiles, type Dialect } from '../sources/files.ts'
import { iniSettings, iniStanzas, parseIni } from '../sources/ini.ts'
import { settingId } from '../setting.ts'
import { isOptionName, optionRow } from '../option-table.ts'
import type { ConfigChange, NewSetting } from './change.ts'

/** A configuration file that init reads and adds settings to. */
export interface ConfigFile {
  readonly path: string
  readonly dialect: Dialect
  /** undefined: the file does not exist. */
  readonly text?: string
  /** Stanzas that the file has settings for, sorted. */
  readonly stanzas: readonly string[]
  /** The value of an option (`pg1-path`), as typed, for a stanza or, without one, for all. */
  valueOf(option: string, stanza?: string): string | undefined
  /** True if the file has settings of a repository, for this stanza or for all. */
  hasRepository(stanza: string): boolean
  /** The text of the file with these settings added. */
  changed(change: ConfigChange): Promise<string>
  /** The settings of a change as the lines of a new file, with secrets redacted. */
  shown(change: ConfigChange): Promise<readonly string[]>
}

/** Reads and checks the file. Errors: those of a command that reads it. */
export async function openConfigFile(path: string, files: ConfigFiles = systemFiles): Promise<ConfigFile> {
  const text = files.read(path)
  const dialect = isYaml(path) ? 'yaml' : 'ini'
  const { stanzas, settingsOf } = dialect === 'yaml' ? await readYaml(text ?? '', path) : readIni(text ?? '', path)
  const find = (option: string, stanza?: string) =>
    settingsOf(stanza).find((setting) => settingId(setting.option, setting.key) === option)
  return {
    path,
    dialect,
    text,
    stanzas,
    valueOf: (option, stanza) => find(option, stanza)?.typed[0],
    hasRepository: (stanza) => settingsOf(stanza).some(({ option }) => option.startsWith('repo-')),
    changed: (change) => textWith(dialect, text ?? '', change),
    shown: async (change) => {
      const redacted = await textWith(dialect, '', { ...change, global: change.global.map(withoutSecret) })
      return redacted.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
    },
  }
}

async function textWith(dialect: Dialect, text: string, change: ConfigChange): Promise<string> {
  if (dialect === 'yaml') return (await loadModule(() => import('./yaml.ts'))).changedYaml(text, change)
  return (await loadModule(() => import('./ini.ts'))).changedIni(text, change)
}

function withoutSecret(setting: NewSetting): NewSetting {
  const isSecret = isOptionName(setting.option) && optionRow(setting.option).secret === true
  return isSecret ? { ...setting, value: '<redacted>' } : setting
}

interface ReadFile {
  readonly stanzas: readonly string[]
  settingsOf(stanza?: string): readonly Setting[]
}

async function readYaml(text: string, path: string): Promise<ReadFile> {
  const { parseYaml } = await loadModule(() => import('../sources/yaml.ts'))
  const { sections, stanzas } = await parseYaml(text, path)
  const settingsOf = (stanza?: string) => [
    ...(stanza === undefined ? [] : (sections.get(`stanza ${stanza}`) ?? [])),
    ...(sections.get('global') ?? []),
  ]
  return { stanzas, settingsOf }
}

/** The settings of `backup`, which has those of repositories and clusters. */
function readIni(text: string, path: string): ReadFile {
  const entries = parseIni(text, path)
  return {
    stanzas: iniStanzas(entries),
    settingsOf: (stanza) => iniSettings(entries, 'backup', stanza).settings,
  }
}
