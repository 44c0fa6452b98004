import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { Certificate, Site, StoreFacts } from '../../core/doctor/facts.ts'
import type { RepositoryDescription } from '../../core/repository.ts'
import { askEndpoint } from '../../storage/http/ask-endpoint.ts'
import { storeEndpoint, type StoreEndpoint } from '../../storage/endpoint.ts'
import { textPath } from '../../util/byte-string.ts'
import { messageOf } from '../../util/error.ts'

/** What the object stores show without credentials: their certificate and their clock. */
export async function storeFacts(
  repositories: readonly RepositoryDescription[],
  site: Site,
  signal: AbortSignal,
): Promise<readonly StoreFacts[]> {
  const endpoints = repositories.flatMap(({ key, storage }) => {
    const endpoint = storeEndpoint(storage)
    return endpoint === undefined ? [] : [{ key, endpoint }]
  })
  return Promise.all(
    endpoints.map(async ({ key, endpoint }) => {
      const caFile = site.repos.find((repo) => repo.key === key)?.caFile
      return { key, authorities: await authoritiesIn(caFile), ...(await answerOf(endpoint, signal)) }
    }),
  )
}

const DEADLINE_MS = 10_000

async function answerOf(
  endpoint: StoreEndpoint,
  signal: AbortSignal,
): Promise<Omit<StoreFacts, 'key' | 'authorities'>> {
  const { secure, host, port } = endpoint.address
  const address = `${secure ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${port}`
  try {
    const { certificate, serverMs } = await askEndpoint(
      endpoint,
      AbortSignal.any([signal, AbortSignal.timeout(DEADLINE_MS)]),
    )
    return {
      address,
      ...(certificate === undefined ? {} : { certificate }),
      ...(serverMs === undefined ? {} : { clockOffsetMs: serverMs - Date.now() }),
    }
  } catch (error) {
    signal.throwIfAborted()
    return { address, failure: messageOf(error) }
  }
}

/** A file with the certificates of a whole system always has some that end soon. */
const MOST_AUTHORITIES = 10

/** Opening the repository reports that the file cannot be read. */
async function authoritiesIn(caFile: string | undefined): Promise<Certificate[]> {
  if (caFile === undefined) return []
  const text = await readFile(textPath(caFile), 'latin1').catch(() => '')
  const found = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
  if (found.length > MOST_AUTHORITIES) return []
  return found.flatMap((pem) => {
    try {
      const { subject, validTo } = new X509Certificate(pem)
      return [{ subject: subject.replaceAll('\n', ', '), validToMs: Date.parse(validTo) }]
    } catch {
      return []
    }
  })
}
