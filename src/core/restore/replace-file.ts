import fs from 'node:fs'
import { bytes, parentOf, pathOf, type ByteString } from '../../util/byte-string.ts'
import { renameEntry, statEntry, syncDirectory, writeSmallFile } from './file-system.ts'

/** Replaces the content of a small file at once and durably; mode and owner stay. The path is not a link. */
export function replaceSmallFile(path: ByteString, content: Buffer): void {
  const old = statEntry(path)
  const temporary = bytes`${path}.pgts.tmp`
  fs.rmSync(pathOf(temporary), { force: true })
  const owner = process.getuid?.() === 0 && old !== undefined ? { uid: old.uid, gid: old.gid } : undefined
  writeSmallFile(temporary, content, old?.mode ?? 0o600, owner)
  renameEntry(temporary, path)
  syncDirectory(parentOf(path))
}
