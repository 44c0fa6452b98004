// This module is imported only when there is a YAML file to read, so the parser may be a static import.
import * as yaml from 'yaml'
import type { Document, Node, Pair, ParsedNode, Scalar, YAMLMap } from 'yaml'
import { hasStrayBytes } from '../../util/byte-string.ts'
import { PgtsError } from '../../util/error.ts'
import { commandNames, type CommandName } from '../command-table.ts'
import { nearest } from '../../util/nearest.ts'
import { formerNames, listed, withIndex } from '../option-name.ts'
import { groupOf, isBoolean, isOptionName, MAX_INDEX, optionNames, optionRow } from '../option-table.ts'
import type { Group, OptionName } from '../option-table.ts'
import { settingId, type Setting } from '../setting.ts'
import { wordToShow } from '../shown.ts'

/** A checked file: its sections `global`, `global:backup`, `main`, `main:archive-push` with their settings. */
export interface YamlConfig {
  readonly sections: ReadonlyMap<string, readonly Setting[]>
  readonly stanzas: readonly string[]
  readonly hasSecret: boolean
}

/**
 * pgts's own dialect: `global` and `stanza.<name>` with option names, lists `repo` and `pg`, and maps of settings for
 * one command. The whole file is checked, including parts that this run does not use; an error has line and
 * column.
 */
export async function parseYaml(text: string, path: string): Promise<YamlConfig> {
  const lines = new yaml.LineCounter()
  const document: Document.Parsed = yaml.parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const at = (offset: number | undefined) => {
    const { line, col } = lines.linePos(offset ?? 0)
    return `${path} line ${line}:${col}`
  }
  if (hasStrayBytes(text)) {
    throw new PgtsError('format', `${at(text.search(/[\udc80-\udcff]/u))}: this is not UTF-8`, {
      hints: ['write the file in UTF-8; a pgbackrest.conf may hold any bytes'],
    })
  }
  const [error] = document.errors
  if (error !== undefined) {
    throw new PgtsError('format', `${at(error.pos[0])}: ${withoutSource(error.message)}`, {
      hints: ['check this line and the one above: an unclosed bracket or quote, or the indentation'],
    })
  }
  const reader = new Reader(yaml, document, (node) => at(node?.range?.[0]))
  reader.readTop(document.contents)
  return { sections: reader.sections, stanzas: [...reader.stanzas].sort(), hasSecret: reader.hasSecret }
}

/** Settings for this command from `stanza:command`, `stanza`, `global:command` and `global`, the most specific section first. */
export function yamlSettings(config: YamlConfig, command: CommandName, stanza: string | undefined): Setting[] {
  const settings = new Map<string, Setting>()
  const sections = [...(stanza === undefined ? [] : [`stanza ${stanza}`]), 'global']
  for (const section of sections.flatMap((name) => [`${name}:${command}`, name])) {
    for (const setting of config.sections.get(section) ?? []) {
      const id = settingId(setting.option, setting.key)
      if (optionRow(setting.option).commands.includes(command) && !settings.has(id)) settings.set(id, setting)
    }
  }
  return [...settings.values()]
}

type YamlModule = typeof yaml
type MaybeNode = Node | ParsedNode | null | undefined

interface Place {
  /** Key in `sections`. */
  readonly section: string
  readonly isGlobal: boolean
  /** Inside the map of one command. */
  readonly command?: CommandName
}

class Reader {
  readonly sections = new Map<string, Setting[]>()
  readonly stanzas = new Set<string>()
  hasSecret = false

  constructor(
    private readonly yaml: YamlModule,
    private readonly document: Document.Parsed,
    private readonly at: (node: MaybeNode) => string,
  ) {}

  readTop(contents: MaybeNode): void {
    if (contents === null || contents === undefined) return
    for (const { key, name, value } of this.entries(contents, 'the file')) {
      if (name === 'global') this.readSection(value, { section: 'global', isGlobal: true })
      else if (name === 'stanza') this.readStanzas(value)
      else throw this.unknown(key, name, ['global', 'stanza'], 'at the top')
    }
  }

  private readStanzas(node: MaybeNode): void {
    for (const { name, value } of this.entries(node, 'stanza')) {
      this.stanzas.add(name)
      this.readSection(value, { section: `stanza ${name}`, isGlobal: false })
    }
  }

  private readSection(node: MaybeNode, place: Place): void {
    for (const { key, name, value } of this.entries(node, place.section)) {
      if (name === 'repo' || name === 'pg') this.readGroup(value, name, place)
      else if (place.command === undefined && isCommand(name)) {
        this.readSection(value, { ...place, section: `${place.section}:${name}`, command: name })
      } else if (isOptionName(name) && groupOf(name) === undefined) this.readOption(key, name, 0, value, place)
      else throw this.unknown(key, name, this.namesFor(place), `in ${place.section}`)
    }
  }

  private readGroup(written: MaybeNode, group: Group, place: Place): void {
    const { yaml } = this
    const node = this.meant(written)
    if (yaml.isSeq(node)) {
      for (const [index, member] of node.items.entries()) this.readMember(member as Node, group, index + 1, place)
      return
    }
    if (!yaml.isMap(node)) {
      throw this.wrong(node, `${group} must be a list`, `write ${group}: [{ path: ... }]`)
    }
    // A map with numbers as keys, for a host that has repository 2 but not repository 1.
    for (const { key, name, value } of this.entries(node, group)) {
      const index = Number(name)
      if (!Number.isInteger(index) || index < 1 || index > MAX_INDEX) {
        throw this.wrong(key, `${group} must be a list, or a map with numbers from 1 to ${MAX_INDEX}`)
      }
      this.readMember(value, group, index, place)
    }
  }

  private readMember(node: MaybeNode, group: Group, index: number, place: Place): void {
    if (index > MAX_INDEX) throw this.wrong(node, `there can be no more than ${MAX_INDEX} in ${group}`)
    for (const { key, name, value } of this.entries(node, `${group} ${index}`)) {
      const option = `${group}-${name}`
      if (!isOptionName(option) || groupOf(option) !== group) {
        const members = optionNames.filter((o) => groupOf(o) === group).map((o) => o.slice(group.length + 1))
        throw this.unknown(key, name, members, `in ${group}`)
      }
      this.readOption(key, option, index, value, place)
    }
  }

  private readOption(key: MaybeNode, option: OptionName, index: number, value: MaybeNode, place: Place): void {
    const row = optionRow(option)
    if (row.section === 'command-line') {
      throw this.invalid(key, `${option} is only valid on the command line`)
    }
    if (row.section === 'stanza' && place.isGlobal) {
      throw this.invalid(key, `${withIndex(option, index)} is only valid below stanza, not in global`)
    }
    if (place.command !== undefined && !row.commands.includes(place.command)) {
      throw this.invalid(key, `${option} is not valid for command ${place.command}`)
    }
    if (row.secret === true) this.hasSecret = true
    const settings = this.sections.get(place.section) ?? []
    this.sections.set(place.section, settings)
    const typed = this.typedValues(value, option)
    settings.push({ option, key: index, typed, negated: false, reset: false, source: 'file', origin: this.at(key) })
  }

  private typedValues(written: MaybeNode, option: OptionName): string[] {
    const { yaml } = this
    const value = this.meant(written)
    const { type } = optionRow(option)
    if (yaml.isSeq(value)) {
      if (type !== 'list' && type !== 'hash') throw this.wrong(value, `${option} takes one value, not a list`)
      return value.items.map((item) => this.scalarText(item as Node, option))
    }
    if (yaml.isMap(value)) {
      if (type !== 'hash') throw this.wrong(value, `${option} takes a value, not a map`)
      return this.entries(value, option).map((entry) => `${entry.name}=${this.scalarText(entry.value, option)}`)
    }
    return [this.scalarText(value, option)]
  }

  private scalarText(written: MaybeNode, option: OptionName): string {
    const node = this.meant(written)
    const row = optionRow(option)
    if (!this.yaml.isScalar(node) || node.value === null || node.value === '') {
      throw new PgtsError('option-invalid-value', `${this.at(node)}: ${option} has no value`)
    }
    const scalar = node as Scalar
    if (typeof scalar.value === 'boolean') {
      if (!isBoolean(row)) throw this.wrong(node, `${option} is not a boolean`, 'put the text in quotes')
      return scalar.value ? 'y' : 'n'
    }
    if (row.type === 'bool') throw this.wrong(node, `${option} must be true or false`)
    // As written: 0123 stays 0123.
    return typeof scalar.value === 'string' ? scalar.value : (scalar.source ?? String(scalar.value))
  }

  /** `*name` refers to the node marked by `&name`. */
  private meant(node: MaybeNode): MaybeNode {
    return this.yaml.isAlias(node) ? node.resolve(this.document) : node
  }

  private entries(written: MaybeNode, what: string): { key: MaybeNode; name: string; value: MaybeNode }[] {
    const node = this.meant(written)
    if (node === null || node === undefined || (this.yaml.isScalar(node) && node.value === null)) return []
    if (!this.yaml.isMap(node)) throw this.wrong(node, `${what} must be a map of names and values`)
    return (node as YAMLMap<Scalar, Node>).items.map((pair: Pair<Scalar, Node | null>) => {
      return { key: pair.key, name: String(pair.key.value ?? pair.key), value: pair.value }
    })
  }

  private namesFor(place: Place): string[] {
    const options = optionNames.filter(
      (name) => groupOf(name) === undefined && optionRow(name).section !== 'command-line',
    )
    return [...options, 'repo', 'pg', ...(place.command === undefined ? commandNames : [])]
  }

  private unknown(key: MaybeNode, name: string, known: readonly string[], where: string): PgtsError {
    return this.invalid(key, `there is no ${wordToShow(name)} ${where}`, ...this.advice(name, known))
  }

  /** Hints for an unknown name: an option with its index, an old name, or a typing error. */
  private advice(name: string, known: readonly string[]): string[] {
    const [, group, , rest] = /^(repo|pg)(\d*)-(.*)$/.exec(name) ?? []
    if (group !== undefined && isOptionName(`${group}-${rest}`)) {
      return [`write it in the list ${group}: [{ ${rest}: ... }]`]
    }
    const now = formerNames().get(name)
    if (now !== undefined) {
      const nowGroup = groupOf(now)
      return [
        nowGroup === undefined ? `it is now ${now}` : `it is now ${now.slice(nowGroup.length + 1)} in ${nowGroup}`,
      ]
    }
    const close = nearest(name, known)
    if (close !== undefined) return [`did you mean ${close}?`]
    return known.length > 8 ? ['pgts help COMMAND lists the options'] : [`known are ${listed(known, 8)}`]
  }

  private invalid(node: MaybeNode, message: string, ...hints: string[]): PgtsError {
    return new PgtsError('option-invalid', `${this.at(node)}: ${message}`, { hints })
  }

  private wrong(node: MaybeNode, message: string, ...hints: string[]): PgtsError {
    return new PgtsError('option-invalid-value', `${this.at(node)}: ${message}`, { hints })
  }
}

/** Some messages end with the text of the file, which may be a passphrase: `Unresolved tag: !...`. */
function withoutSource(message: string): string {
  return message.replace(/(?:: | sequence ).*$/s, '')
}

function isCommand(name: string): name is CommandName {
  return (commandNames as readonly string[]).includes(name)
}
