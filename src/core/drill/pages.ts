import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { verifyPages } from '../../codec/page-checksum.ts'
import type { ControlFile } from '../../postgres/control-file.ts'
import { bytes, bytesToText, pathOf, textToBytes, type ByteString } from '../../util/byte-string.ts'
import { isExecutable } from '../../util/is-executable.ts'
import { yieldToEventLoop } from '../../util/yield-to-event-loop.ts'
import { listKinds, realPath } from '../restore/file-system.ts'
import type { DrillCheck } from './record.ts'
import { runProgram, type ProgramRun } from './run-program.ts'

export interface PagesRequest extends ProgramRun {
  /** Of the stopped server. */
  readonly control: ControlFile
  /** Data directory. */
  readonly data: string
  /** Directory of the programs. */
  readonly programs: string
  /** Called with the bytes so far. */
  done(bytes: number): void
}

type Finding = Omit<DrillCheck, 'name' | 'durationMs'>

/** Checks all pages of a stopped cluster: by pg_checksums of its version, else as a backup checks them. */
export async function checkPages(request: PagesRequest): Promise<Finding> {
  const { control, data, programs } = request
  if (control.dataChecksumVersion === 0) return { result: 'skipped', detail: 'the cluster has no data checksums' }
  const program = `${programs}/pg_checksums`
  if (isExecutable(program)) {
    const { output } = await runProgram(program, ['--check', '-D', data], request)
    const [, bad] = /^Bad checksums:\s*(\d+)/m.exec(output) ?? []
    if (bad === '0') return { result: 'passed', detail: 'pg_checksums' }
    if (bad !== undefined) return { result: 'failed', detail: `pg_checksums: ${bad} pages: ${output}` }
    // It cannot be used with this cluster, so it checked nothing.
  }
  return verifyFiles(request)
}

const RELATION = /^\d+(_(?:vm|fsm|init))?(?:\.(\d+))?$/
const MOST_SHOWN = 3

async function verifyFiles({ control, data, signal, done }: PagesRequest): Promise<Finding> {
  const buffer = Buffer.alloc(1024 * 1024)
  let doneBytes = 0
  let files = 0
  const wrong: string[] = []
  for (const path of relationFiles(textToBytes(data))) {
    const segment = Number(RELATION.exec(path.slice(path.lastIndexOf('/') + 1))?.[2] ?? 0)
    let block = segment * control.segmentBlocks
    const fd = openSync(pathOf(path), 'r')
    try {
      // A server stopped in recovery can leave a partial page at the end.
      const pages = Math.floor(fstatSync(fd).size / control.pageSize)
      for (let left = pages; left > 0;) {
        signal.throwIfAborted()
        const wanted = Math.min(buffer.length, left * control.pageSize)
        const got = readSync(fd, buffer, 0, wanted, (pages - left) * control.pageSize)
        for (const page of verifyPages(buffer.subarray(0, got), control.pageSize, block, true))
          wrong.push(`${bytesToText(path)} block ${block + page}`)
        const read = Math.max(1, Math.floor(got / control.pageSize))
        block += read
        left -= read
        doneBytes += got
        done(doneBytes)
        await yieldToEventLoop()
      }
    } finally {
      closeSync(fd)
    }
    files++
  }
  if (wrong.length === 0) return { result: 'passed', detail: `${files} files` }
  return { result: 'failed', detail: `${wrong.length} pages: ${wrong.slice(0, MOST_SHOWN).join(', ')}` }
}

/** Every file of a relation, in byte order; the data directory, then the tablespaces. */
function* relationFiles(data: ByteString): Generator<ByteString> {
  yield* relationsIn(bytes`${data}/global`)
  yield* databasesIn(bytes`${data}/base`)
  for (const { name } of listKinds(bytes`${data}/pg_tblspc`) ?? []) {
    const location = realPath(bytes`${data}/pg_tblspc/${name}`)
    for (const { name: version } of listKinds(location) ?? []) yield* databasesIn(bytes`${location}/${version}`)
  }
}

function* databasesIn(directory: ByteString): Generator<ByteString> {
  for (const { name, kind } of listKinds(directory) ?? [])
    if (kind === 'path' && /^\d+$/.test(name)) yield* relationsIn(bytes`${directory}/${name}`)
}

function* relationsIn(directory: ByteString): Generator<ByteString> {
  for (const { name, kind } of listKinds(directory) ?? [])
    if (kind === 'file' && RELATION.test(name)) yield bytes`${directory}/${name}`
}
