import { readdirSync, statSync } from 'node:fs'
import { pathOf } from '../../../util/byte-string.ts'
import { isAbout, readSpoolOutcome, removeIfThere, removeStatus, type SpoolPaths } from '../spool-files.ts'
import { readReadyQueue } from '../push/ready-queue.ts'

/** Away with what an earlier process left: its errors are out of date, and an `.ok` that is older than its file lies. */
export function tidySpool({ spool, walPath }: { readonly spool: SpoolPaths; readonly walPath: string }): void {
  for (const name of readdirSync(pathOf(spool.out), { encoding: 'latin1' })) {
    if (!name.endsWith('.ok')) removeIfThere(`${spool.out}/${name}`)
  }
  for (const name of readReadyQueue(walPath, spool.out).acknowledged) {
    const outcome = readSpoolOutcome(spool.out, name)
    const file = statSync(pathOf(`${walPath}/${name}`), { bigint: true, throwIfNoEntry: false })
    if (!isAbout(outcome, file?.mtimeNs)) removeStatus(spool.out, name, 'ok')
  }
}
