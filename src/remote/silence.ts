import { PgtsError } from '../util/error.ts'
import type { SilenceLimits } from './connection.ts'
import { PING_AFTER_MS } from './limits.ts'
import type { Output } from './output.ts'

export interface SilenceActions {
  ping(): void
  end(error: PgtsError): void
}

/** Detects another end that does not send or does not read any more. */
export class Silence {
  #heardMs = performance.now()
  #pinged = false
  /** The limit was exceeded at the last look. */
  #isSuspected = false
  readonly #output: Output
  readonly #limits: SilenceLimits
  readonly #actions: SilenceActions
  readonly #timer: NodeJS.Timeout

  constructor(output: Output, limits: SilenceLimits, actions: SilenceActions) {
    this.#output = output
    this.#limits = limits
    this.#actions = actions
    const everyMs = Math.max(10, Math.min(PING_AFTER_MS, limits.protocolTimeoutMs / 4, limits.ioTimeoutMs / 4))
    this.#timer = setInterval(() => this.#look(), everyMs)
    // The channel keeps the process alive, not this.
    this.#timer.unref()
  }

  /** Bytes have arrived. */
  heard(): void {
    this.#heardMs = performance.now()
    this.#pinged = false
    this.#isSuspected = false
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #look(): void {
    const nowMs = performance.now()
    const silentMs = nowMs - this.#heardMs
    const { protocolTimeoutMs, ioTimeoutMs } = this.#limits
    const stuckMs = this.#output.queuedBytes === 0 ? 0 : nowMs - this.#output.progressMs
    if (silentMs >= protocolTimeoutMs || stuckMs >= ioTimeoutMs) {
      // This process itself may have been stopped or busy: what has arrived is then read before the next look.
      if (this.#isSuspected) return this.#actions.end(timedOut(silentMs >= protocolTimeoutMs, silentMs, stuckMs))
      this.#isSuspected = true
    } else this.#isSuspected = false
    if (silentMs < Math.min(PING_AFTER_MS, protocolTimeoutMs / 2) || this.#pinged) return
    this.#pinged = true
    this.#actions.ping()
  }
}

function timedOut(isSilent: boolean, silentMs: number, stuckMs: number): PgtsError {
  const [reason, option] = isSilent
    ? [`it has sent nothing for ${seconds(silentMs)}`, 'protocol-timeout']
    : [`it has read nothing for ${seconds(stuckMs)}`, 'io-timeout']
  return new PgtsError('host-connect', reason, { hints: [`check the other host and the network, or raise ${option}`] })
}

function seconds(ms: number): string {
  return `${Math.round(ms / 1000)} s`
}
