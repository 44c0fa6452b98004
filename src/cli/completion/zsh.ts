import { commandRow } from '../../config/command-table.ts'
import { helpTopics } from '../render/help-topics.ts'
import { completionTable, offeredCommands, SHELLS, wordsOf, type Flag } from './table.ts'

export function zshScript(): string {
  const table = completionTable()
  const lists = table.groups.map(({ flags }, at) => `    (${at})\n${flags.flatMap(linesOf).join('\n')}\n      ;;`)
  const cases = table.commands.map(({ name, groups }) => `    (${name}) groups=(${groups.join(' ')}) ;;`)
  const values = table.values.map(({ pattern, words }) => `    (${pattern}) values=(${words.join(' ')}) ;;`)
  const commands = offeredCommands.map((name) => `${name}:${commandRow(name).summary}`)
  const topics = Object.entries(helpTopics).map(([name, { title }]) => `${name}:${title}`)
  return `#compdef pgts
# Completion of pgts for zsh, made by: pgts completion zsh

# Adds options to the arrays plain and valued.
_pgts_group() {
  case $1 in
${lists.join('\n')}
  esac
}

# The options of a command; without one, all.
_pgts_options() {
  local -a groups
  local group
  case $1 in
${cases.join('\n')}
    ('') groups=({0..${table.groups.length - 1}}) ;;
  esac
  for group in $groups; do _pgts_group $group; done
}

# Offers the values of an option of a command.
_pgts_values() {
  local -a values
  case $1:$2 in
${values.join('\n')}
    (${table.paths}) _files; return ;;
  esac
  compadd -a values
}

# True if the value of the option may be the next word.
_pgts_takes_value() {
  case $(_pgts_first "$1") in
    (${table.valued}) return 0 ;;
  esac
  return 1
}

${describing('command', commands)}
${describing('topic', topics)}
${FUNCTION}`
}

/** A function `_pgts_<kind>` that offers words, each with its description. */
function describing(kind: string, entries: readonly string[]): string {
  return `_pgts_${kind}() {
  local -a entries=(
${entries.map((entry) => `    ${quoted(entry)}`).join('\n')}
  )
  _describe -t ${kind}s ${kind} entries
}
`
}

function linesOf(flag: Flag): string[] {
  return wordsOf(flag).map((word) => {
    const list = word.endsWith('=') ? 'valued' : 'plain'
    return `      ${list}+=(${quoted(`${word}:${flag.summary}`)})`
  })
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}

const FUNCTION = `# --repo2-path is described as --repo1-path.
_pgts_first() {
  if [[ $1 =~ '^--(repo|pg)[0-9]+-(.*)$' ]]; then
    print -r -- "--\${match[1]}1-\${match[2]}"
  else
    print -r -- "$1"
  fi
}

_pgts() {
  local command word skip i
  local -a parameters plain valued names
  for ((i = 2; i <= $#words; i++)); do
    word=$words[i]
    if ((i == CURRENT)) || [[ -n $skip ]]; then
      skip=
    elif [[ $word == -* ]]; then
      _pgts_takes_value "$word" && skip=1
    elif [[ -z $command ]]; then
      command=$word
    elif ((i < CURRENT)); then
      parameters+=("$word")
    fi
  done

  if [[ $PREFIX == --*=* ]]; then
    word=\${PREFIX%%=*}
    compset -P '*='
    _pgts_values "$command" "$(_pgts_first "$word")"
  elif _pgts_takes_value "$words[CURRENT-1]"; then
    _pgts_values "$command" "$(_pgts_first "$words[CURRENT-1]")"
  elif [[ $PREFIX == -* ]]; then
    plain=('--help:Show help.')
    _pgts_options "$command"
    word=\${\${PREFIX#--}#no-}
    if [[ $word == (repo|pg)[0-9]* ]]; then
      i=\${\${\${word#repo}#pg}%%[^0-9]*}
      word=\${word%%[0-9]*}
      plain=("\${(@)plain/#--\${word}1-/--$word$i-}")
      plain=("\${(@)plain/#--no-\${word}1-/--no-$word$i-}")
      valued=("\${(@)valued/#--\${word}1-/--$word$i-}")
    fi
    _describe -o -t options option plain -- valued -S ''
  else
    case $command:$#parameters in
      (:*) _pgts_command ;;
      (help:0) _pgts_command; _pgts_topic ;;
      (help:1)
        _pgts_options "$parameters[1]"
        names=(\${\${(M)\${plain%%:*}:#--^no-*}#--} \${\${\${valued%%:*}#--}%=})
        compadd -a names
        ;;
      (completion:0) compadd ${SHELLS.join(' ')} ;;
    esac
  fi
}

# The first call of an autoloaded function; else the script was sourced.
if [[ $funcstack[1] == _pgts ]]; then
  _pgts "$@"
else
  compdef _pgts pgts
fi
`
