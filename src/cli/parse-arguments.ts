import { Command, CommanderError, Option } from 'commander'
import { ArgumentReader, isOptionWord, takesNextWord, type CommandLine } from '../config/argv.ts'

/**
 * Parses a command line with commander. Commander has no options with an abbreviated name, with an index from 1 to 256,
 * or with a value that only `=` can give, like booleans of pgBackRest. Therefore each option word is declared to it as
 * the grammar in config/argv.ts interprets it; commander then pairs options with values and separates the parameters.
 *
 * @throws PgtsError as `parseCommandLine`
 */
export function parseWithCommander(argv: readonly string[]): CommandLine {
  const reader = new ArgumentReader()
  const program = new Command()
    .helpOption(false)
    .exitOverride()
    .configureOutput({ writeErr: () => undefined })
  const end = argv.indexOf('--')
  for (const word of new Set(end === -1 ? argv : argv.slice(0, end))) {
    if (isOptionWord(word)) program.addOption(new OptionWord(word, (value) => reader.option(word, () => value)))
  }
  try {
    return reader.commandLine(program.parseOptions([...argv]).operands)
  } catch (error) {
    // The last word has no value; the reader throws the error for that option.
    if (error instanceof CommanderError) reader.option(argv.at(-1) ?? '', () => undefined)
    throw error
  }
}

/** An option whose only form is this word. */
class OptionWord extends Option {
  constructor(word: string, read: (value: string | undefined) => void) {
    super(takesNextWord(word) ? '--word <value>' : '--word')
    this.long = word
    this.argParser(read)
  }

  override attributeName(): string {
    return this.long ?? ''
  }
}
