import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { spawnSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { clusterIn, findLocalClusters } from '../../../../src/postgres/discover/find-clusters.ts'

let root: string
let proc: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'pgts-discover-'))
  proc = join(root, 'proc')
  mkdirSync(proc)
})
afterEach(() => rmSync(root, { recursive: true }))

function aDataDirectory(path: string, version = '17', postmaster?: readonly string[]): string {
  mkdirSync(join(path, 'global'), { recursive: true })
  writeFileSync(join(path, 'PG_VERSION'), `${version}\n`)
  writeFileSync(join(path, 'global/pg_control'), '')
  if (postmaster !== undefined) writeFileSync(join(path, 'postmaster.pid'), `${postmaster.join('\n')}\n`)
  return path
}

/** A process `postgres` in the directory that stands for /proc. */
function aProcess(pid: number, parent: number, cwd: string | undefined, ...args: string[]): void {
  const directory = join(proc, String(pid))
  mkdirSync(directory)
  writeFileSync(join(directory, 'comm'), 'postgres\n')
  writeFileSync(join(directory, 'stat'), `${pid} (postgres) S ${parent} 0 0\n`)
  writeFileSync(join(directory, 'cmdline'), `${args.join('\0')}\0`)
  writeFileSync(join(directory, 'cgroup'), '0::/system.slice/system-postgresql.slice/postgresql@17-main.service\n')
  if (cwd !== undefined) symlinkSync(cwd, join(directory, 'cwd'))
}

describe('the search for clusters', () => {
  test('finds a running server by its working directory, and leaves out its children', () => {
    const data = aDataDirectory(join(root, 'anywhere'), '15', ['100', '', '0', '5433', '/run/pg', '*', '', 'ready'])
    aProcess(100, 1, data, '/usr/lib/postgresql/15/bin/postgres', '-D', data)
    aProcess(101, 100, data, 'postgres: checkpointer')
    const { clusters, unreadable } = findLocalClusters({ root, proc })
    expect(clusters).toMatchObject([{ dataDirectory: data, version: '15', port: 5433, socketDirectory: '/run/pg' }])
    expect(clusters[0]?.postmaster).toMatchObject({ pid: 100, service: 'postgresql@17-main.service' })
    expect(unreadable).toEqual([])
  })

  test('finds the data directory that the configuration of Debian names, also when no server runs', () => {
    const data = aDataDirectory(join(root, 'disk/17'))
    const conf = join(root, 'etc/postgresql/17/main')
    mkdirSync(conf, { recursive: true })
    writeFileSync(
      join(conf, 'postgresql.conf'),
      `# data_directory = '/wrong'\ndata_directory = '${data}'\t\t# use this\n`,
    )
    const { clusters } = findLocalClusters({ root, proc })
    expect(clusters.map(({ dataDirectory, postmaster }) => [dataDirectory, postmaster])).toEqual([[data, undefined]])
    expect(clusterIn(conf, proc)).toMatchObject({ dataDirectory: data })
  })

  test('finds a cluster by the lock file of its socket, and each cluster once', () => {
    const data = aDataDirectory(join(root, 'var/lib/pgsql/data'))
    mkdirSync(join(root, 'var/run/postgresql'), { recursive: true })
    writeFileSync(join(root, 'var/run/postgresql/.s.PGSQL.5432.lock'), `100\n${data}/\n0\n5432\n`)
    symlinkSync(data, join(root, 'link'))
    const { clusters } = findLocalClusters({ root, proc, pgdata: join(root, 'link') })
    expect(clusters).toHaveLength(1)
  })

  test('a postmaster.pid of a process that does not run is not a running server', () => {
    const data = aDataDirectory(join(root, 'data'), '17', ['999', '', '0', '5432', '/tmp', '*', '', 'ready'])
    expect(clusterIn(data, proc)).not.toHaveProperty('port')
  })

  test('reports a server whose directory cannot be read', () => {
    aProcess(200, 1, undefined, 'postgres', '-D', '/nowhere')
    expect(findLocalClusters({ root, proc })).toMatchObject({ clusters: [], unreadable: [{ pid: 200 }] })
  })

  test('does not wait at a named pipe in the place of postmaster.pid', () => {
    const data = aDataDirectory(join(root, 'data'))
    spawnSync('mkfifo', [join(data, 'postmaster.pid')])
    expect(clusterIn(data, proc)).toMatchObject({ dataDirectory: data, version: '17' })
  })
})
