import { describe, expect, test } from 'vitest'
import { formatShortError } from '../../../src/cli/exit.ts'
import { withShownName } from '../../../src/cli/shown-name.ts'
import { PgtsError } from '../../../src/util/error.ts'

describe('command lines in messages', () => {
  test.each([
    ["run 'pgts --stanza=main start'", "run 'pgbackrest --stanza=main start'"],
    ['pgts help COMMAND lists the options', 'pgbackrest help COMMAND lists the options'],
    [
      "archive_command = 'pgts --stanza=NAME archive-push %p'",
      "archive_command = 'pgbackrest --stanza=NAME archive-push %p'",
    ],
    ['usage: pgts archive-push WAL-PATH', 'usage: pgbackrest archive-push WAL-PATH'],
    ['pgts is running as root', 'pgts is running as root'],
    ['/opt/pgts info', '/opt/pgts info'],
    ['pgts infos', 'pgts infos'],
  ])('%j is shown as %j under the name pgbackrest', (text, expected) => {
    expect(withShownName(text, 'pgbackrest')).toBe(expected)
    expect(withShownName(text, 'pgts')).toBe(text)
  })

  test('of an error that is reported without a logger have the name, too', () => {
    const error = new PgtsError('command-invalid', 'there is no command x', { hints: ['pgts help lists the commands'] })
    expect(formatShortError(error, 'pgbackrest')).toContain('HINT: pgbackrest help lists the commands\n')
  })
})
