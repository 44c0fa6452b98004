import { createHash, randomBytes } from 'node:crypto'
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { parseControlFile } from '../../../src/postgres/control-file.ts'
import { crc32c } from '../../../src/postgres/crc32c.ts'
import { giveToTestUser, runOk } from '../processes/test-user.ts'
import { TEMPLATES, type ServerVersion } from './server-versions.ts'

/** Where pg_control and the first page of each WAL segment have the system identifier. */
const SYSTEM_ID = { control: 0, wal: 24 } as const

/**
 * Create a data directory. initdb runs once for each server and set of arguments in a test run, because it takes a second; then
 * its result is copied, with a system identifier of its own.
 */
export async function createDataDirectory(
  binDir: string,
  version: ServerVersion,
  dataDir: string,
  args: readonly string[],
): Promise<void> {
  const initdb = (path: string) => runOk(join(binDir, 'initdb'), ['-D', path, ...args])
  const templates = process.env[TEMPLATES]
  if (templates === undefined) return void (await initdb(dataDir))
  const name = createHash('sha1')
    .update(JSON.stringify([version, args]))
    .digest('hex')
  const template = join(templates, name)
  if (!existsSync(template)) {
    const made = mkdtempSync(`${template}-`)
    giveToTestUser(made)
    await initdb(made)
    try {
      renameSync(made, template)
    } catch {
      rmSync(made, { recursive: true }) // another test file was faster
    }
  }
  await runOk('cp', ['-a', `${template}/.`, dataDir])
  changeSystemId(dataDir)
}

function changeSystemId(dataDir: string): void {
  const id = Buffer.alloc(8)
  id.writeBigUInt64LE((BigInt(Math.trunc(Date.now() / 1000)) << 32n) | BigInt(randomBytes(4).readUInt32LE()))
  const controlFile = join(dataDir, 'global/pg_control')
  const control = readFileSync(controlFile)
  const { crc } = parseControlFile(control).postgres.control
  id.copy(control, SYSTEM_ID.control)
  control.writeUInt32LE(crc32c(control.subarray(0, crc)), crc)
  writeFileSync(controlFile, control)
  const wal = join(dataDir, 'pg_wal')
  for (const segment of readdirSync(wal).filter((file) => /^[0-9A-F]{24}$/.test(file))) {
    const file = openSync(join(wal, segment), 'r+')
    writeSync(file, id, 0, id.length, SYSTEM_ID.wal)
    closeSync(file)
  }
}
