import { commandRow } from '../../config/command-table.ts'
import { helpTopics } from '../render/help-topics.ts'
import { flags, offeredCommands, SHELLS, valuedNames, wordsOf, type Flag } from './table.ts'

/** fish 3 or newer. */
export function fishScript(): string {
  const all = flags()
  const commands = offeredCommands.map((name) => offer('__pgts_is ""', name, commandRow(name).summary))
  const helped = offeredCommands.map((name) => offer('__pgts_is help', name, commandRow(name).summary))
  const topics = Object.entries(helpTopics).map(([name, { title }]) => offer('__pgts_is help', name, title))
  return `# Completion of pgts for fish, made by: pgts completion fish

# The words before the cursor that are neither options nor their values: command and parameters.
function __pgts_words
    set -l skip 0
    for word in (commandline -opc)[2..-1]
        if test $skip = 1
            set skip 0
        else if string match -qr -- '^-' $word
            switch (string replace -r -- '^--(repo|pg)\\d+-' '--\${1}1-' $word)
                case ${valuedNames(all)
                  .map((name) => `--${name}`)
                  .join(' ')}
                    set skip 1
            end
        else
            echo $word
        end
    end
end

function __pgts_is
    set -l words (__pgts_words)
    test "$words" = "$argv[1]"
end

# True for the given commands, and before a command is written.
function __pgts_for
    set -l words (__pgts_words)
    test -z "$words[1]"; or contains -- $words[1] $argv
end

complete -c pgts -f
complete -c pgts -l help -d 'Show help.'
${[...commands, ...helped, ...topics].join('\n')}
complete -c pgts -n '__pgts_is completion' --arguments '${SHELLS.join(' ')}'
${all.flatMap(linesOf).join('\n')}
`
}

function offer(condition: string, word: string, text: string): string {
  return `complete -c pgts -n '${condition}' --arguments ${word} -d ${quoted(text)}`
}

function linesOf(flag: Flag): string[] {
  const start = `complete -c pgts -n '__pgts_for ${flag.commands.join(' ')}'`
  const end = `-d ${quoted(flag.summary)}`
  return wordsOf(flag).map((word) => {
    const value = word.endsWith('=') ? ` ${valueOf(flag)}` : ''
    return `${start} -l ${word.slice(2).replace('=', '')}${value} ${end}`
  })
}

function valueOf({ value }: Flag): string {
  if (value === 'path') return '-r -F'
  return typeof value === 'string' ? '-x' : `-x --arguments '${value.join(' ')}'`
}

function quoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}
