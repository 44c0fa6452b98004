/** An error answer of the JSON API. */
export class GcsRefusal extends Error {
  constructor(
    readonly status: number,
    readonly reason: string,
    message: string,
  ) {
    super(message)
  }

  get body(): string {
    const { status, reason, message } = this
    return JSON.stringify({ error: { code: status, message, errors: [{ domain: 'global', reason, message }] } })
  }
}

export function notFound(what: string): GcsRefusal {
  return new GcsRefusal(404, 'notFound', `${what} does not exist.`)
}
