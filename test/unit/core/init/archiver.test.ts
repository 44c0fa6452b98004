import { describe, expect, test } from 'vitest'
import { identifyArchiver } from '../../../../src/core/init/archiver.ts'

const wanted = { command: '/usr/bin/pgts --stanza=main archive-push %p', stanza: 'main', shared: false }

describe('an archive_command', () => {
  test.each([
    ['', 'none'],
    ['/bin/true', 'discards'],
    ['exit 0', 'discards'],
    [wanted.command, 'own'],
    ['PGTS_NODE=/opt/node /usr/local/bin/pgts --stanza=main archive-push "%p"', 'own'],
    ['/usr/local/bin/pgts archive-push --stanza main %p', 'own'],
    ['/usr/bin/pgts --stanza=other archive-push %p', 'foreign'],
    ['/usr/bin/pgts --config=/etc/other.yaml --stanza=main archive-push %p', 'foreign'],
    ['pgbackrest --stanza=main archive-push %p', 'foreign'],
  ])('%s is %s', (command, kind) => {
    expect(identifyArchiver(command, '', wanted).kind).toBe(kind)
  })

  test('of pgbackrest is own when both programs read the same file', () => {
    const command = '/usr/bin/pgbackrest --stanza=main archive-push %p'
    expect(identifyArchiver(command, '', { ...wanted, shared: true }).kind).toBe('own')
  })

  test.each([
    ['test ! -f /a/%f && cp %p /a/%f', 'a copy command'],
    ['envdir /etc/wal-g wal-g wal-push %p', 'WAL-G'],
    ['barman-wal-archive backup main %p', 'Barman'],
    ['barman-cloud-wal-archive s3://b main %p', 'Barman'],
    ['/usr/bin/pgbackrest --stanza=main archive-push %p', 'pgBackRest'],
    ['/opt/archive.sh %p', 'archive.sh'],
  ])('%s is a command of %s', (command, program) => {
    expect(identifyArchiver(command, '', wanted)).toMatchObject({ kind: 'foreign', program })
  })

  test('is not called when archive_library is set', () => {
    expect(identifyArchiver(wanted.command, 'basic_archive', wanted)).toMatchObject({ kind: 'foreign' })
  })
})
