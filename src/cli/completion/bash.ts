import { helpTopics } from '../render/help-topics.ts'
import { completionTable, offeredCommands, SHELLS, wordsOf } from './table.ts'

/** bash 4 or newer. */
export function bashScript(): string {
  const table = completionTable()
  const lists = table.groups.map((group, at) => `  local g${at}='${group.flags.flatMap(wordsOf).join(' ')}'`)
  const commands = table.commands.map(
    ({ name, groups }) => `    ${name}) echo "${groups.map((at) => `$g${at}`).join(' ')}" ;;`,
  )
  const values = table.values.map(({ pattern, words }) => `    ${pattern}) echo '${words.join(' ')}' ;;`)
  return `# Completion of pgts for bash, made by: pgts completion bash

# The options of a command; without one, all.
_pgts_options() {
${lists.join('\n')}
  case $1 in
${commands.join('\n')}
    '') echo "${table.groups.map((_, at) => `$g${at}`).join(' ')}" ;;
  esac
}

# The words that an option of a command takes; a slash for a path.
_pgts_values() {
  case $1:$2 in
${values.join('\n')}
    ${table.paths}) echo / ;;
  esac
}

# True if the value of the option may be the next word.
_pgts_takes_value() {
  case $(_pgts_first "$1") in
    ${table.valued}) return 0 ;;
  esac
  return 1
}

# --repo2-path is described as --repo1-path.
_pgts_first() {
  if [[ $1 =~ ^--(repo|pg)[0-9]+-(.*)$ ]]; then
    echo "--\${BASH_REMATCH[1]}1-\${BASH_REMATCH[2]}"
  else
    echo "$1"
  fi
}

${FUNCTION}`
}

const FUNCTION = `_pgts() {
  local cur=\${COMP_WORDS[COMP_CWORD]} before= command= option= prefix= values= word= skip= i
  local -a parameters=()
  ((COMP_CWORD > 0)) && before=\${COMP_WORDS[COMP_CWORD - 1]}
  COMPREPLY=()

  # bash divides words at '=' unless COMP_WORDBREAKS lacks it: --type = full.
  for ((i = 1; i < \${#COMP_WORDS[@]}; i++)); do
    word=\${COMP_WORDS[i]}
    if ((i == COMP_CWORD)) || [[ $skip ]]; then
      skip=
    elif [[ $word == '=' ]]; then
      skip=1
    elif [[ $word == -* ]]; then
      [[ \${COMP_WORDS[i + 1]-} != '=' ]] && _pgts_takes_value "$word" && skip=1
    elif [[ ! $command ]]; then
      command=$word
    elif ((i < COMP_CWORD)); then
      parameters+=("$word")
    fi
  done

  if [[ $cur == --*=* ]]; then
    option=\${cur%%=*} prefix=\${cur%%=*}= cur=\${cur#*=}
  elif [[ $cur == '=' ]]; then
    option=$before cur=
  elif [[ $before == '=' ]]; then
    option=\${COMP_WORDS[COMP_CWORD - 2]}
  elif _pgts_takes_value "$before"; then
    option=$before
  fi

  if [[ $option ]]; then
    values=$(_pgts_values "$command" "$(_pgts_first "$option")")
    if [[ $values == / ]]; then
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -P "$prefix" -f -- "$cur")
      return
    fi
  elif [[ $cur == -* ]]; then
    values="--help $(_pgts_options "$command")"
    if [[ $cur =~ ^--(no-)?(repo|pg)([0-9]+) ]]; then
      values=\${values//"\${BASH_REMATCH[2]}1-"/"\${BASH_REMATCH[2]}\${BASH_REMATCH[3]}-"}
    fi
  else
    case $command:\${#parameters[@]} in
      :*) values='${offeredCommands.join(' ')}' ;;
      help:0) values='${[...offeredCommands, ...Object.keys(helpTopics)].join(' ')}' ;;
      help:1) values=$(_pgts_options "\${parameters[0]}" | sed 's/--no-[^ ]*//g; s/--//g; s/=//g') ;;
      completion:0) values='${SHELLS.join(' ')}' ;;
    esac
  fi
  mapfile -t COMPREPLY < <(compgen -P "$prefix" -W "$values" -- "$cur")
  [[ \${#COMPREPLY[@]} -eq 1 && \${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
  return 0
}
complete -F _pgts pgts
`
