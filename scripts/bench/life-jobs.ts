import { closeSync, existsSync, mkdirSync, openSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Cluster, giveToTestUser, runOk } from '../../test/support/postgres/postgres.ts'
import type { Job } from './jobs.ts'
import { type Program, switchWal } from './programs.ts'
import type { Settings } from './settings.ts'
import { hex, walTimesFiles } from './wal-times.ts'

const common = (tested: Program) => [tested.program, `--config=${tested.config}`, '--stanza=main']
const run = (tested: Program, ...args: string[]) => runOk(tested.program, [...common(tested).slice(1), ...args])
const archiveOf = (tested: Program, cluster: Cluster) => join(tested.dir, 'repo/archive/main', `${cluster.version}-1`)

/** Commands on a repository after its backups: verify, info, expire. */
export function lifeJobs(cluster: Cluster, settings: Settings): Job[] {
  return [verify(cluster), info(cluster, settings.infoSegments), expire(settings.objects)]
}

/** With all the WAL that the backups need. */
function verify(cluster: Cluster): Job {
  const wal = join(cluster.dataDir, 'pg_wal')
  return {
    name: 'verify',
    variant: 'plain',
    async prepare(tested) {
      if (!existsSync(join(tested.dir, 'repo/backup/main/latest'))) await run(tested, '--type=full', 'backup')
      await switchWal(cluster)
      const current = String((await cluster.query('select pg_walfile_name(pg_current_wal_lsn()) as name'))[0]?.['name'])
      const stored = storedSegments(archiveOf(tested, cluster))
      for (const segment of readdirSync(wal).sort()) {
        if (/^[0-9A-F]{24}$/.test(segment) && segment < current && !stored.has(segment))
          await run(tested, 'archive-push', join(wal, segment))
      }
    },
    command: (tested) => [...common(tested), 'verify'],
  }
}

function storedSegments(archive: string): Set<string> {
  if (!existsSync(archive)) return new Set()
  return new Set(readdirSync(archive, { recursive: true, encoding: 'utf8' }).map((file) => file.slice(17, 41)))
}

/** Segments are empty files: the commands do not open them. Their commit times are recorded, which only pgts reads. */
function info(cluster: Cluster, segments: number): Job {
  return {
    name: `info, ${segments} segments in the archive`,
    variant: 'many',
    async prepare(tested) {
      const archive = archiveOf(tested, cluster)
      const times = join(tested.dir, 'repo/pgts/main/wal-times', `${cluster.version}-1`)
      if (existsSync(times)) return
      await run(tested, '--type=full', 'backup')
      mkdirSync(times, { recursive: true })
      for (const [name, content] of walTimesFiles(Math.ceil(segments / 256))) writeFileSync(join(times, name), content)
      for (let done = 0; done < segments; done += 256) {
        const directory = `00000001${hex(done / 256)}`
        mkdirSync(join(archive, directory), { recursive: true })
        for (let segment = 0; segment < Math.min(256, segments - done); segment++)
          closeSync(openSync(join(archive, directory, `${directory}${hex(segment)}-${'0'.repeat(40)}.zst`), 'w'))
      }
      giveToTestUser(join(tested.dir, 'repo'))
    },
    command: (tested) => [...common(tested), 'info'],
  }
}

/** Expires an old backup with many files. Each run has the same two backups, linked from a copy. */
function expire(files: number): Job {
  return {
    name: `expire of ${files} files`,
    variant: 'expire',
    async prepare(tested) {
      const [repo, saved] = [join(tested.dir, 'repo'), join(tested.dir, 'saved')]
      if (!existsSync(saved)) {
        for (let backups = 0; backups < 2; backups++) await run(tested, '--type=full', 'backup')
        const [oldest = ''] = readdirSync(join(repo, 'backup/main')).sort()
        for (let i = 0; i < files; i++) {
          const directory = join(repo, 'backup/main', oldest, `pg_data/filled/${Math.floor(i / 1000)}`)
          if (i % 1000 === 0) mkdirSync(directory, { recursive: true })
          closeSync(openSync(join(directory, `${i}.zst`), 'w'))
        }
        giveToTestUser(repo)
        await runOk('cp', ['-a', repo, saved])
      }
      rmSync(repo, { recursive: true })
      await runOk('cp', ['-a', saved, repo])
    },
    command: (tested) => [...common(tested), '--repo1-retention-full=1', 'expire'],
  }
}
