// Runs the commands on a small cluster, with a local repository, one in S3, and a repository and a cluster of another host, so that the code cache gets
// the functions that they call. It needs no PostgreSQL and no sshd.
import { spawn, spawnSync } from 'node:child_process'
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

/** @param main path of dist/cli/main.cjs. An exit code other than the expected one fails the build */
export async function exercise(main) {
  const scratch = mkdtempSync(join(tmpdir(), 'pgts-build-'))
  const portFile = join(scratch, 'port')
  const store = spawn(process.execPath, [fileURLToPath(new URL('object-store.mjs', import.meta.url)), portFile], {
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  try {
    const data = makeCluster(scratch)
    while (!existsSync(portFile)) {
      if (store.exitCode !== null) throw new Error(`object-store.mjs ended with ${store.exitCode}`)
      await setTimeout(20)
    }
    const inStore = `repo1-type=s3
repo1-s3-endpoint=http://127.0.0.1:${readFileSync(portFile, 'latin1')}
repo1-s3-bucket=bucket
repo1-s3-region=us-east-1
repo1-s3-key=key
repo1-s3-key-secret=secret
repo1-s3-uri-style=path
`
    for (const repository of [`repo1-path=${scratch}/repo\n`, `${inStore}repo1-path=/repo\n`])
      exerciseCommands(main, scratch, data, repository)
    exerciseHosts(main, scratch, data)
  } finally {
    store.kill()
    rmSync(scratch, { recursive: true })
  }
}

function exerciseCommands(main, scratch, data, repository) {
  const config = join(scratch, 'pgts.conf')
  writeFileSync(config, settings(scratch, data, repository))
  const pgts = (args, expected = 0) => run(main, [`--config=${config}`, '--allow-root', ...args], scratch, expected)
  const stanza = (args, expected) => pgts(['--stanza=demo', ...args], expected)
  const blocks = ['--repo1-bundle', '--repo1-block']

  stanza(['--no-online', 'stanza-create'])
  for (const number of [1, 2]) stanza(['archive-push', join(data, 'pg_wal', segmentName(number))])
  stanza(['archive-get', segmentName(1), join(scratch, 'segment')])
  stanza(['archive-get', segmentName(9), join(scratch, 'segment')], 1)
  const restored = `--pg1-path=${join(scratch, 'restored')}`
  rmSync(join(scratch, 'restored'), { recursive: true, force: true })
  stanza(['--type=full', '--no-online', 'backup'])
  stanza([restored, 'restore'])
  stanza([...blocks, '--type=full', '--no-online', 'backup'])
  appendFileSync(join(data, 'base/1/1000'), page(7))
  stanza([...blocks, '--type=incr', '--no-online', 'backup'])
  stanza([restored, '--delta', 'restore'])
  stanza(['verify'])
  stanza(['--repo1-retention-full=1', 'expire'])
  pgts(['info'])
  run(main, ['version'], scratch, 0)
}

/** Both ends of a connection: the program that replaces ssh starts the other end here. */
function exerciseHosts(main, scratch, data) {
  const write = (name, text) => {
    writeFileSync(join(scratch, name), text)
    chmodSync(join(scratch, name), 0o755)
    return join(scratch, name)
  }
  const local = settings(scratch, data, `repo1-path=${scratch}/pushed\n`)
  const served = write('served.conf', local.replaceAll('/lock\n', '/lock-there\n'))
  const program = write('remote', `#!/bin/sh\nexec "${process.execPath}" "${main}" --allow-root "$@"\n`)
  const ssh = write('ssh', '#!/bin/sh\nfor command; do :; done\nexec sh -c "$command"\n')
  const optionsOf = (prefix) =>
    [`host=host`, `host-user=user`, `host-cmd=${program}`, `host-config=${served}`].map((line) => `${prefix}-${line}\n`)
  const hosts = `cmd-ssh=${ssh}\n`
  const push = write('push.conf', settings(scratch, data, [hosts, ...optionsOf('repo1')].join('')))
  const pull = write('pull.conf', local.replace('[demo]\n', `${hosts}[demo]\n${optionsOf('pg1').join('')}`))
  const stanza = (config, args) =>
    run(main, [`--config=${config}`, '--allow-root', '--stanza=demo', ...args], scratch, 0)

  stanza(push, ['--no-online', 'stanza-create'])
  stanza(push, ['archive-push', join(data, 'pg_wal', segmentName(1))])
  stanza(push, ['archive-get', segmentName(1), join(scratch, 'segment')])
  for (const blocks of [[], ['--repo1-bundle', '--repo1-block']])
    stanza(pull, [...blocks, '--type=full', '--no-online', 'backup'])
  appendFileSync(join(data, 'base/1/1000'), page(8))
  stanza(pull, ['--repo1-bundle', '--repo1-block', '--type=incr', '--no-online', 'backup'])
  rmSync(join(scratch, 'restored'), { recursive: true, force: true })
  stanza(push, [`--pg1-path=${join(scratch, 'restored')}`, 'restore'])
  stanza(push, ['info'])
}

function run(main, args, cwd, expected) {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(PG|NODE_)/.test(name)))
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], { cwd, env, encoding: 'utf8' })
  if (status !== expected)
    throw new Error(`${args.join(' ')} ended with ${status} instead of ${expected}\n${stdout}${stderr}`)
}

/** npm installs zstd-napi only where it can. */
function hasZstd() {
  try {
    createRequire(import.meta.url)('zstd-napi/binding.js')
    return true
  } catch {
    return false
  }
}

const settings = (scratch, data, repository) => `[global]
${repository}log-path=${scratch}/log
lock-path=${scratch}/lock
spool-path=${scratch}/spool
compress-type=${hasZstd() ? 'zst' : 'lz4'}
process-max=1
[demo]
pg1-path=${data}
`

const SYSTEM_ID = 7_123_456_789_012_345_678n
const WAL_BYTES = 1024 * 1024
const segmentName = (number) => `00000001000000000000000${number}`

/** The directory of a PostgreSQL 15 that was shut down, with the files that pgts reads. */
function makeCluster(scratch) {
  const data = join(scratch, 'data')
  for (const directory of ['base/1', 'global', 'pg_wal/archive_status'])
    mkdirSync(join(data, directory), { recursive: true, mode: 0o700 })
  writeFileSync(join(data, 'PG_VERSION'), '15\n')
  writeFileSync(join(data, 'global/pg_control'), controlFile())
  for (const number of [1, 2]) writeFileSync(join(data, 'pg_wal', segmentName(number)), segment(number))
  writeFileSync(join(data, 'base/1/1000'), Buffer.concat(Array.from({ length: 200 }, (_, number) => page(number))))
  for (let file = 2000; file < 2040; file++) writeFileSync(join(data, `base/1/${file}`), page(file))
  return data
}

/** @see src/postgres/versions.ts, src/postgres/control-file.ts */
function controlFile() {
  const bytes = Buffer.alloc(8192)
  bytes.writeBigUInt64LE(SYSTEM_ID, 0)
  bytes.writeUInt32LE(1300, 8)
  bytes.writeUInt32LE(202209061, 12)
  bytes.writeUInt32LE(1, 16)
  bytes.writeBigUInt64LE(BigInt(2 * WAL_BYTES + 40), 32)
  bytes.writeBigUInt64LE(BigInt(2 * WAL_BYTES + 40), 40)
  bytes.writeUInt32LE(1, 48)
  bytes.writeUInt32LE(8192, 216)
  bytes.writeUInt32LE(131072, 220)
  bytes.writeUInt32LE(8192, 224)
  bytes.writeUInt32LE(WAL_BYTES, 228)
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, 288)), 288)
  return bytes
}

function segment(number) {
  const bytes = Buffer.alloc(WAL_BYTES)
  for (let at = 0; at < WAL_BYTES; at += 8192) {
    bytes.writeUInt16LE(0xd110, at)
    bytes.writeUInt16LE(at === 0 ? 2 : 0, at + 2)
    bytes.writeUInt32LE(1, at + 4)
    const address = BigInt(number * WAL_BYTES + at)
    bytes.writeBigUInt64LE(address, at + 8)
    // One record that fills the page, and names the one before it.
    const header = at === 0 ? 40 : 24
    bytes.writeUInt32LE(8192 - header, at + header)
    if (at > 0) bytes.writeBigUInt64LE(address - 8192n + (at === 8192 ? 40n : 24n), at + header + 8)
  }
  bytes.writeBigUInt64LE(SYSTEM_ID, 24)
  bytes.writeUInt32LE(WAL_BYTES, 32)
  bytes.writeUInt32LE(8192, 36)
  return bytes
}

/** A page without a checksum. */
function page(seed) {
  const bytes = Buffer.alloc(8192)
  for (let at = 64; at < bytes.length; at += 4) bytes.writeUInt32LE((seed * 2654435761 + at * (at % 97)) >>> 0, at)
  bytes.writeUInt16LE(24, 12)
  bytes.writeUInt16LE(64, 14)
  bytes.writeUInt16LE(8192, 16)
  bytes.writeUInt16LE(8196, 18)
  return bytes
}

function crc32c(bytes) {
  let crc = 0xffffffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
  }
  return (crc ^ 0xffffffff) >>> 0
}
