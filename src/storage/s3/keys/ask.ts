import { openAgents, type HttpAccess } from '../../http/agents.ts'
import { networkError } from '../../http/network-error.ts'
import { httpSender, readBody, type HttpRequest } from '../../http/send.ts'

/** A service that issues credentials answers quickly, or does not exist. */
const STALL_MS = 5_000

/** One short request, over sockets that are closed afterwards. */
export async function askOnce(
  request: HttpRequest,
  from: string,
  access: HttpAccess = { verifyTls: true, stallMs: STALL_MS },
): Promise<{ status: number; text: string }> {
  using agents = await openAgents(access)
  try {
    const response = await httpSender(agents, STALL_MS)(request)
    return { status: response.statusCode ?? 0, text: (await readBody(response, 1024 * 1024)).toString('utf8') }
  } catch (error) {
    throw networkError(`cannot get credentials from ${from}`, error)
  }
}
