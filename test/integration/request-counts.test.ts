import { randomUUID } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { s3Requests, type S3ServerAddress } from '../support/stores/s3-server.ts'
import { sharedStore } from '../support/stores/store-keeper.ts'
import { objectStores } from '../support/stores/object-stores.ts'
import { aSite, type Site } from '../support/sites/site.ts'
import { makeTestDir } from '../support/processes/test-user.ts'
import { until } from '../support/until.ts'

const store = objectStores.find(({ name }) => name === 's3')!

/** The requests of each command, so that one that is not needed is noticed: each costs a round trip and CPU time. */
describe.skipIf(store.missing !== undefined)('requests to S3', () => {
  let server: S3ServerAddress
  let site: Site
  let bucket: string

  beforeAll(async () => {
    server = await sharedStore('s3')
    const options = (await store.bucket()).options()
    bucket = String(options['repo1-s3-bucket'])
    // A resident process would make requests at any time.
    site = await aSite({
      walSegsizeMb: 1,
      options: {
        ...options,
        'repo1-bundle': 'y',
        'archive-check': 'n',
        'expire-auto': 'n',
        'compress-type': 'zst',
        'archive-resident': 'n',
      },
      conf: { archive_command: 'false' },
    })
    await site.pgtsOk('stanza-create')
    for (const table of ['a', 'b']) {
      await site.cluster.query(`create table ${table} (id int)`)
      await site.cluster.query('select pg_switch_wal()')
    }
    await site.pgtsOk('archive-push', segments()[0]!)
  })
  afterAll(() => site?.[Symbol.asyncDispose]())

  /** A request to the server marks the end of those before it in its log. */
  async function seen(): Promise<number> {
    const mark = `/mark-${randomUUID()}`
    await fetch(`http://${server.host}:${server.httpPort}${mark}`)
    let lines: string[] = []
    await until('the requests are in the log', () => (lines = s3Requests(server)).some((line) => line.includes(mark)))
    return lines.length
  }

  /** Sorted; labels, segments and checksums are replaced. */
  async function requestsOf(...args: string[]): Promise<string[]> {
    const before = await seen()
    await site.pgtsOk(...args)
    const after = await seen()
    return (
      s3Requests(server)
        .slice(before, after)
        .flatMap((line) => {
          const [, method = '', path = ''] = /"([A-Z]+) (\S+)/.exec(line) ?? []
          if (!path.startsWith(`/${bucket}/`)) return []
          const url = new URL(path, 'http://store')
          const name = url.pathname === `/${bucket}/` ? `?${url.searchParams.get('prefix') ?? 'delete'}` : url.pathname
          const kind = url.searchParams.has('uploads') ? `${method} uploads` : method
          return `${kind} ${name.replace(`/${bucket}/`, '')}`
            .replace('repo/', '')
            .replaceAll(/[0-9]{8}-[0-9]{6}F(_[0-9]{8}-[0-9]{6}[DI])?/g, 'LABEL')
            .replaceAll(/[0-9A-F]{24}-[0-9a-f]{40}/g, 'SEGMENT')
            .replaceAll(/[0-9A-F]{16}(?![0-9A-F])/g, 'DIR')
            .replaceAll(/[0-9a-f]{32}\.json/g, 'HOST')
            .replaceAll(/\/20[0-9]{2}(?=\/)/g, '/YEAR')
        })
        // The recoverable window has requests of its own.
        .filter((request) => !request.includes('/wal-times/'))
        .sort()
    )
  }

  const isData = (request: string) => /LABEL\/(bundle|pg_data)\//.test(request)
  const rest = (requests: readonly string[]) => requests.filter((request) => !isData(request))
  const data = (requests: readonly string[]) => requests.filter(isData)
  const segments = () => {
    const wal = join(site.cluster.dataDir, 'pg_wal')
    return readdirSync(wal)
      .filter((name) => /^[0-9A-F]{24}$/.test(name))
      .sort()
      .map((name) => join(wal, name))
  }
  // One to see that the stanza exists, one whether a host holds it; the second creation proves that the store keeps the
  // condition of the first.
  const LEASE = [
    ...['HEAD backup/main/backup.info', 'GET pgts/main/lease.json'],
    ...['PUT pgts/main/lease.json', 'PUT pgts/main/lease.json'],
    ...['GET pgts/main/lease.json', 'DELETE pgts/main/lease.json'],
  ]
  const BACKUP = [
    ...LEASE,
    ...['GET archive/main/archive.info', 'GET backup/main/backup.info'],
    // Before the backup, to reconcile backup.info; and when it has begun, for its label.
    ...['GET ?backup/main/', 'GET ?backup/main/'],
    ...['GET ?backup/main/backup.history/', 'GET ?backup/main/backup.history/YEAR/'],
    ...['PUT backup/main/LABEL/backup.manifest.copy', 'PUT backup/main/LABEL/backup.manifest.copy'],
    ...['PUT backup/main/LABEL/backup.manifest', 'PUT backup/main/backup.history/YEAR/LABEL.manifest.gz'],
    ...['archive/main/archive.info', 'backup/main/backup.info'].flatMap((name) => [`PUT ${name}`, `PUT ${name}.copy`]),
    'HEAD pgts/main/hosts/HOST',
  ]
  // Looks for archived segments whose commit times are not recorded.
  const MISSING_TIMES = ['GET ?archive/main/15-1/', 'GET ?archive/main/15-1/DIR/']
  const MANIFEST = 'backup/main/LABEL/backup.manifest'

  test('archive-push of a segment, and of one that is there', async () => {
    const [, path = ''] = segments()
    const again = ['GET ?archive/main/15-1/DIR/', 'GET archive/main/archive.info']
    // After it, the directory is listed again, in case another server has stored the same name.
    const added = ['GET ?archive/main/15-1/DIR/', 'PUT archive/main/15-1/DIR/SEGMENT.zst']
    expect(await requestsOf('archive-push', path)).toEqual([...again, ...added].sort())
    expect(await requestsOf('archive-push', path)).toEqual(again)
  })

  test('archive-get', async () => {
    expect(await requestsOf('archive-get', basename(segments()[0]!), join(makeTestDir('get'), 'segment'))).toEqual([
      ...['GET ?archive/main/15-1/DIR/', 'GET archive/main/15-1/DIR/SEGMENT.zst', 'GET archive/main/archive.info'],
    ])
  })

  test('full', async () => {
    await site.pgtsOk('--type=full', 'backup')
    expect(rest(await requestsOf('--type=full', 'backup'))).toEqual(
      [...BACKUP, ...MISSING_TIMES, `HEAD ${MANIFEST}`].sort(),
    )
  })

  test('info', async () => {
    expect(await requestsOf('info')).toEqual(
      [
        ...['GET ?archive/main/15-1/', 'GET ?archive/main/15-1/DIR/', 'GET ?backup/'],
        ...['GET archive/main/archive.info', 'GET backup/main/backup.info'],
        // Whether there are pins or drills.
        'GET ?pgts/main/',
      ].sort(),
    )
  })

  test('restore', async () => {
    const target = makeTestDir('restored')
    const requests = await requestsOf(`--pg1-path=${target}`, '--no-restore-check', 'restore')
    expect(rest(requests)).toEqual([
      ...['GET ?archive/main/15-1/', 'GET ?archive/main/15-1/DIR/', 'GET ?pgts/main/hosts/'],
      ...[`GET ${MANIFEST}`, 'GET backup/main/backup.info'],
    ])
    // Of each bundle at most two parts, so that two workers share it, and each other file once.
    for (const request of data(requests)) {
      const times = requests.filter((other) => other === request).length
      expect(times, request).toBeLessThanOrEqual(request.includes('/bundle/') ? 2 : 1)
    }
  })

  test('incr', async () => {
    const incr = [...BACKUP, ...MISSING_TIMES, `HEAD ${MANIFEST}`, `HEAD ${MANIFEST}`, `GET ${MANIFEST}`]
    expect(rest(await requestsOf('--type=incr', 'backup'))).toEqual(incr.sort())
  })

  test('expire of a full, with the WAL that only it needs', async () => {
    const requests = await requestsOf('--repo1-retention-full=1', 'expire')
    expect(requests).toEqual(
      [
        ...LEASE,
        ...['GET archive/main/archive.info', 'GET backup/main/backup.info', 'GET pgts/main/pins.json'],
        ...['GET ?backup/main/', `HEAD ${MANIFEST}`, `HEAD ${MANIFEST}`, `HEAD ${MANIFEST}`],
        ...[`DELETE ${MANIFEST}.copy`, `DELETE ${MANIFEST}`],
        ...['PUT backup/main/backup.info', 'PUT backup/main/backup.info.copy'],
        ...['GET ?backup/main/LABEL/', 'POST ?delete'],
        ...['GET ?archive/main/', 'GET ?archive/main/15-1/', 'GET ?archive/main/15-1/DIR/', 'POST ?delete'],
        // For segments whose commit times are not recorded.
        'GET ?archive/main/15-1/',
        ...['GET uploads ?archive/main/', 'GET uploads ?backup/main/'],
      ].sort(),
    )
  })
})
