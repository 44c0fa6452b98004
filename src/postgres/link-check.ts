import { asBytes, bytes, bytesToText, type ByteString } from '../util/byte-string.ts'
import { PgtsError } from '../util/error.ts'

/** A followed link of the data directory: its destination, absolute, and the file's name if it is a file. */
interface FollowedLink {
  /** Relative to PGDATA, for messages. */
  readonly name: ByteString
  /** Directory, absolute, with a slash at its end. */
  readonly path: ByteString
  readonly file?: ByteString
}

/**
 * Refuses links whose destinations would be backed up twice, or restored over each other: into the data directory, to
 * the same file or directory, or one inside another [070].
 */
export class LinkCheck {
  readonly #base: string
  readonly #links: FollowedLink[] = []

  /** `base`: the data directory, absolute. */
  constructor(base: string) {
    this.#base = `${base}/`
  }

  add(name: ByteString, path: string, file?: ByteString): void {
    const link: FollowedLink = { name, path: bytes`${path}/`, file }
    if (link.path.startsWith(this.#base)) throw conflict(`${shown(link)} destination is in the data directory`)
    for (const other of this.#links) {
      if (link.path === other.path) {
        if (link.file === undefined || other.file === undefined) {
          throw conflict(`${shown(link)} destination is the same directory as ${shown(other)}`)
        }
        if (link.file === other.file) throw conflict(`${shown(link)} destination is the same file as ${shown(other)}`)
      } else if (link.file === undefined && other.file === undefined) {
        if (link.path.startsWith(other.path))
          throw conflict(`${shown(link)} destination is a subdirectory of ${shown(other)}`)
        if (other.path.startsWith(link.path))
          throw conflict(`${shown(other)} destination is a subdirectory of ${shown(link)}`)
      }
    }
    this.#links.push(link)
  }
}

function shown(link: FollowedLink): string {
  return `link '${bytesToText(link.name)}' (${bytesToText(link.path.slice(0, -1))}${link.file === undefined ? '' : `/${bytesToText(link.file)}`})`
}

function conflict(message: string): PgtsError {
  return new PgtsError('link-destination', message, {
    hints: ['links of a data directory must point to separate directories outside of it'],
  })
}

/**
 * Destination of a link as an absolute path without `.` and `..`; a relative one starts at the directory of the link.
 * By text only, as the repository records it: links in the destination are not resolved.
 */
export function absoluteDestination(destination: string, directory: string): ByteString {
  const parts: string[] = []
  for (const part of `${destination.startsWith('/') ? '' : `${directory}/`}${destination}`.split('/')) {
    if (part === '' || part === '.') continue
    if (part === '..') parts.pop()
    else parts.push(part)
  }
  return bytes`/${parts.join('/')}`
}

/** Directory part and last part of a destination, as it was written: `../ext/a.conf` gives `../ext` and `a.conf`. */
export function splitDestination(destination: ByteString): { readonly path: ByteString; readonly file: ByteString } {
  const slash = destination.lastIndexOf('/')
  if (slash === -1) return { path: asBytes(''), file: destination }
  return { path: slash === 0 ? asBytes('/') : destination.slice(0, slash), file: destination.slice(slash + 1) }
}
