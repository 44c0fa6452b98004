import { ownPath } from '../../format/repo-path.ts'
import { lastDrill } from '../drill/store.ts'
import type { Pin } from '../expire/pins.ts'
import { loadPins } from '../expire/pins-store.ts'
import type { Repository } from '../repository.ts'
import type { InfoDrill } from './report.ts'

/** What pgts itself keeps of a stanza. Both are only additions to the report, and never reject. */
export interface OwnFiles {
  readonly pins: Promise<readonly Pin[]>
  readonly drill: Promise<InfoDrill | undefined>
}

/** @param drills also read the last drill */
export function loadOwnFiles(repository: Repository, stanza: string, drills: boolean, signal: AbortSignal): OwnFiles {
  // One listing says what exists: most stanzas have neither pins nor drills.
  const names = drills ? namesIn(repository, stanza, signal).catch(() => undefined) : undefined
  const exists = async (name: string) => (await names)?.has(name) ?? true
  const pins = async () => ((await exists('pins.json')) ? loadPins(repository, stanza, signal) : [])
  const drill = async () => (drills && (await exists('drill')) ? lastDrill(repository, stanza, signal) : undefined)
  return {
    // expire reports unreadable pins as an error; info reports everything else. If the command was cancelled, every other
    // request reports that.
    pins: pins().catch(() => []),
    drill: drill().then(
      (record) => (record === undefined ? undefined : { repoKey: repository.key, record }),
      () => undefined,
    ),
  }
}

async function namesIn({ storage }: Repository, stanza: string, signal: AbortSignal): Promise<ReadonlySet<string>> {
  const path = ownPath(stanza)
  const names = new Set<string>()
  for await (const { name } of storage.list(path, { namesOnly: true, signal })) names.add(name.slice(path.length + 1))
  return names
}
