import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { decrypt } from '../../src/codec/cipher.ts'
import { parseArchiveInfo } from '../../src/format/archive-info.ts'
import { parseBackupInfo } from '../../src/format/backup-info.ts'
import { parseManifest } from '../../src/format/manifest-parse.ts'
import { textToBytes } from '../../src/util/byte-string.ts'
import { dataChecksum, type DataChecksum, makeTestDir, startCluster } from '../support/postgres/postgres.ts'
import { aSite, type Site } from '../support/sites/site.ts'

const PASS = 'correct horse — battery "staple"'
const LOUD = ['--log-level-console=trace', '--log-level-file=trace']

const ENCRYPTED = {
  'repo1-cipher-type': 'aes-256-cbc',
  'repo1-cipher-pass': PASS,
  'compress-type': 'zst',
  'archive-copy': 'y',
  'process-max': '2',
}

describe('an encrypted repository', () => {
  test('has no readable file, leaks no passphrase, and can be restored', async () => {
    await using site = await aSite({ version: 16, walSegsizeMb: 1, options: ENCRYPTED })
    const { cluster } = site
    const outputs: string[] = []
    const run = async (...args: string[]): Promise<string> => {
      const { stdout, stderr } = await site.pgtsOk(...args)
      outputs.push(stdout, stderr)
      return stdout
    }
    await cluster.query('create table t as select i, md5(i::text) as v from generate_series(1, 20000) i')
    await run(...LOUD, 'stanza-create')
    await run(...LOUD, 'check')
    const commands = watchCommandLines()
    await run(...LOUD, '--type=full', 'backup')
    outputs.push(commands.stop())

    await cluster.query("insert into t select i, 'after the backup' from generate_series(1, 500) i")
    const expected = await dataChecksum(cluster)
    const lsn = String((await cluster.query('select pg_current_wal_insert_lsn()::text as lsn'))[0]?.['lsn'])
    await cluster.query('drop table t')
    await run('check')

    // To the moment before the mistake; the history file of the new timeline is archived and fetched from the archive.
    await cluster.stop()
    await run(...LOUD, '--delta', '--type=lsn', `--target=${lsn}`, '--target-action=promote', 'restore')
    await cluster.start()
    await cluster.untilPrimary()
    expect(await dataChecksum(cluster)).toEqual(expected)
    await run(...LOUD, 'check')
    const destination = join(makeTestDir('history'), '00000002.history')
    await run(...LOUD, 'archive-get', '00000002.history', destination)
    expect(readFileSync(destination, 'utf8')).toContain(`1\t${lsn.slice(0, 2)}`)
    expect(await restoredElsewhere(site, outputs)).toEqual(expected)

    expect(await run('info')).toContain('    cipher: aes-256-cbc\n')
    const [stanza] = JSON.parse(await run('--output=json', 'info')) as [{ cipher: string; repo: { cipher: string }[] }]
    expect([stanza.cipher, stanza.repo[0]?.cipher]).toEqual(['aes-256-cbc', 'aes-256-cbc'])
    const passes = passphrasesOf(site)
    expect(passes.size).toBe(4)

    await run(...LOUD, '--type=full', '--repo1-retention-full=1', 'backup')
    expect(await restoredElsewhere(site, outputs)).toEqual(expected)
    for (const pass of passphrasesOf(site)) passes.add(pass)
    // A full has a passphrase of its own.
    expect(passes.size).toBe(5)

    // The names of hosts are not encrypted: any restore reads them.
    const files = filesBelow(site.repo).filter((name) => !name.startsWith('pgts/main/hosts/'))
    expect(files.length).toBeGreaterThan(500)
    for (const name of files)
      expect(readFileSync(join(site.repo, name)).toString('latin1', 0, 8), name).toBe('Salted__')

    const logs = filesBelow(join(site.dir, 'log')).map((name) => readFileSync(join(site.dir, 'log', name), 'utf8'))
    expect(logs.join('\n')).toContain('backup command begin')
    expect(outputs.join('\n')).toContain('--repo1-cipher-pass=<redacted>')
    const places = [...outputs, ...logs, ...readableFiles(cluster.dataDir)]
    const secrets = [...passes, 'correct horse', 'staple']
    for (const secret of secrets)
      for (const text of places) if (text.includes(secret)) throw new Error(`${secret} leaked:\n${text}`)
  }, 240_000)

  test('reports wrong cipher settings and their source in every command', async () => {
    await using site = await aSite({ version: 16, walSegsizeMb: 1, options: { ...ENCRYPTED, 'archive-copy': 'n' } })
    await site.pgtsOk('stanza-create')
    const text = readFileSync(site.config, 'utf8')
    const withLines = (change: (text: string) => string) => writeFileSync(site.config, change(text))
    const commands: readonly (readonly string[])[] = [
      ['stanza-create'],
      ['check'],
      ['backup'],
      ['archive-get', '000000010000000000000001', join(site.dir, 'x')],
      ['expire'],
      [`--pg1-path=${site.dir}/new`, 'restore'],
    ]

    withLines((lines) => lines.replace(/^repo1-cipher-pass=.*$/m, 'repo1-cipher-pass=mistyped'))
    for (const args of commands) {
      const { code, stdout, stderr } = await site.pgts([...LOUD, ...args])
      expect(code, args.join(' ')).not.toBe(0)
      expect(stdout + stderr).toContain('wrong passphrase: repo1-cipher-pass (from ')
      expect(stdout + stderr).toContain('pgbackrest.conf line ')
      expect(stdout + stderr).not.toMatch(/mistyped|\ufffd/)
    }
    expect((await site.pgts(['stanza-create'])).code).toBe(95)
    const info = await site.pgts(['info'])
    expect(info.stdout).toContain('[CryptoError]')
    expect(info.stdout).toContain('wrong passphrase')

    // The environment has precedence over the file, and is named as the source.
    const env = { PGTS_REPO1_CIPHER_PASS: 'mistyped as well' }
    const byEnvironment = await site.pgts(['stanza-create'], { env })
    expect(byEnvironment.stdout + byEnvironment.stderr).toContain('(from PGTS_REPO1_CIPHER_PASS)')
    expect((await site.pgts(['stanza-create'], { env: { PGTS_REPO1_CIPHER_PASS: PASS } })).code).toBe(0)

    withLines((lines) => lines.replace(/^repo1-cipher.*\n/gm, ''))
    const without = await site.pgts(['check'])
    expect(without.code).toBe(95)
    expect(without.stdout + without.stderr).toContain('is encrypted, but no cipher is configured for repo1')

    withLines((lines) => lines.replace(/^repo1-cipher-pass.*\n/gm, ''))
    const half = await site.pgts(['check'])
    expect(half.code).toBe(37)
    expect(half.stdout + half.stderr).toContain('repo1-cipher-pass')

    rmSync(join(site.repo, 'archive'), { recursive: true })
    rmSync(join(site.repo, 'backup'), { recursive: true })
    withLines((lines) => lines.replace(/^repo1-cipher.*\n/gm, ''))
    await site.pgtsOk('stanza-create')
    withLines((lines) => lines)
    const plain = await site.pgts(['check'])
    expect(plain.code).toBe(95)
    expect(plain.stdout + plain.stderr).toContain('is not encrypted, but repo1-cipher-type is aes-256-cbc')
  }, 120_000)
})

/** Restore the newest backup with the WAL in it, without the archive. */
async function restoredElsewhere(site: Site, outputs: string[]): Promise<DataChecksum> {
  const dataDir = join(makeTestDir('restored'), 'data')
  const { stdout, stderr } = await site.pgtsOk(...LOUD, `--pg1-path=${dataDir}`, '--archive-mode=off', 'restore')
  outputs.push(stdout, stderr, ...readableFiles(dataDir))
  await using restored = await startCluster({ version: 16, dir: dataDir, conf: { archive_mode: 'off' } })
  await restored.untilPrimary()
  return await dataChecksum(restored)
}

/** Every passphrase: that of the user, and those in the files. */
function passphrasesOf(site: Site): Set<string> {
  const open = (name: string, pass: string) => decrypt(readFileSync(join(site.repo, name)), pass)
  const archive = parseArchiveInfo(open('archive/main/archive.info', textToBytes(PASS))).cipherPass!
  const backup = parseBackupInfo(open('backup/main/backup.info', textToBytes(PASS))).cipherPass!
  const labels = readdirSync(join(site.repo, 'backup/main')).filter((name) => /^\d{8}-\d{6}F$/.test(name))
  const manifests = labels.map((label) => parseManifest(open(`backup/main/${label}/backup.manifest`, backup)))
  return new Set([PASS, archive, backup, ...manifests.map(({ cipherPass }) => cipherPass!)])
}

function filesBelow(dir: string): string[] {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(dir.length + 1))
}

/** The configuration and state files of a cluster, as text. */
function readableFiles(dataDir: string): string[] {
  return filesBelow(dataDir)
    .filter((name) => !/^(base|global|pg_wal|pg_xact)\//.test(name) || name.includes('manifest'))
    .map((name) => `${name}\n${readFileSync(join(dataDir, name), 'utf8')}`)
}

/** Records the command lines that `ps` could show. */
function watchCommandLines(): { stop(): string } {
  const seen = new Set<string>()
  const look = () => {
    for (const pid of readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name))) {
      try {
        seen.add(readFileSync(`/proc/${pid}/cmdline`, 'utf8'))
      } catch {
        // It has ended.
      }
    }
  }
  const timer = setInterval(look, 50)
  return {
    stop() {
      clearInterval(timer)
      const text = [...seen].join('\n')
      expect(text).toContain('backup')
      return text
    },
  }
}
