import { bytesToText } from '../util/byte-string.ts'
import { PgtsError, isPgtsError, messageOf } from '../util/error.ts'
import { countReceived } from '../util/release-memory.ts'
import { SharedCredit } from './body-receiver.ts'
import type { Channel } from './channel.ts'
import type {
  Connection,
  ConnectionOptions,
  Download,
  Handler,
  RemoteLog,
  RequestOptions,
  Rows,
  SilenceLimits,
  Upload,
} from './connection.ts'
import { decodeError, shownBytes } from './errors.ts'
import { FRAME, FrameDecoder, type Frame } from './frame.ts'
import { LEAVE_AFTER_MS } from './limits.ts'
import { MessageJoiner, type Message } from './messages.ts'
import { Output } from './output.ts'
import { decodeLog, encodeLog, LogLimit } from './records.ts'
import { Requests } from './requests.ts'
import { Serving } from './serving.ts'
import { Silence } from './silence.ts'
import { decodeValue, encodeValue } from './value.ts'
import type { CallVerb, DownloadVerb, RowsVerb, UploadVerb } from './verb.ts'

export interface PeerStart {
  readonly channel: Channel
  readonly options: ConnectionOptions
  /** The caller opens odd streams, the serving end even ones. */
  readonly isCaller: boolean
  readonly protocol: number
  readonly peerVersion: string
  /** What has been received after the greeting. */
  readonly rest: Buffer
}

/** One end of a connection after the greeting. */
export class Peer implements Connection {
  readonly protocol: number
  readonly peerVersion: string
  readonly display: string
  readonly ended: Promise<void>
  readonly #channel: Channel
  readonly #onLog: ((record: RemoteLog) => void) | undefined
  readonly #output: Output
  readonly #decoder: FrameDecoder
  readonly #messages = new MessageJoiner()
  readonly #requests: Requests
  readonly #serving: Serving
  #silence: Silence
  readonly #sentLogs = new LogLimit()
  readonly #receivedLogs = new LogLimit()
  readonly #abort = new AbortController()
  /** Streams of this end have odd numbers, else even ones. */
  readonly #isCaller: boolean
  /** Callers that wait for PONG. */
  readonly #pings: { readonly resolve: () => void; readonly reject: (error: unknown) => void }[] = []
  #resolveEnded!: () => void

  constructor({ channel, options, isCaller, protocol, peerVersion, rest }: PeerStart) {
    this.protocol = protocol
    this.peerVersion = peerVersion
    this.display = channel.display
    this.#channel = channel
    this.#decoder = new FrameDecoder({ joinsData: channel.hasSmallReads === true })
    this.#onLog = options.onLog
    this.#isCaller = isCaller
    this.ended = new Promise((resolve) => (this.#resolveEnded = resolve))
    this.#output = new Output(channel.output)
    const shared = new SharedCredit()
    this.#requests = new Requests(this.#output, shared, isCaller ? 1 : 2)
    this.#serving = new Serving({
      connection: this,
      output: this.#output,
      shared,
      opensWith: options.opensWith,
      onAnswered: (requestBytes) => this.#messages.release(requestBytes),
    })
    this.serve(options.handlers ?? [])
    this.#silence = this.#watchSilence(options)
    this.#listen(rest)
  }

  #watchSilence(limits: SilenceLimits): Silence {
    return new Silence(this.#output, limits, {
      ping: () => this.#sendPing(),
      end: (error) => this.#end(this.#explained(error), 'destroy'),
    })
  }

  limitSilence(limits: SilenceLimits): void {
    this.#silence.stop()
    if (!this.signal.aborted) this.#silence = this.#watchSilence(limits)
  }

  get signal(): AbortSignal {
    return this.#abort.signal
  }

  serve(handlers: readonly Handler[]): void {
    this.#serving.add(handlers)
  }

  call<Q, A>(verb: CallVerb<Q, A>, request: Q, options?: RequestOptions): Promise<A> {
    return this.#requests.call(verb, request, options)
  }

  upload<Q, E, A>(verb: UploadVerb<Q, E, A>, request: Q, options?: RequestOptions): Upload<E, A> {
    return this.#requests.upload(verb, request, options)
  }

  download<Q, A>(verb: DownloadVerb<Q, A>, request: Q, options?: RequestOptions): Promise<Download<A>> {
    return this.#requests.download(verb, request, options)
  }

  rows<Q, A, I>(verb: RowsVerb<Q, A, I>, request: Q, options?: RequestOptions): Promise<Rows<A, I>> {
    return this.#requests.rows(verb, request, options)
  }

  log(record: RemoteLog): void {
    if (!this.#sentLogs.admit() || !this.#output.isReady) return
    const dropped = this.#sentLogs.takeDropped()
    if (dropped > 0)
      this.#output.send(
        { type: FRAME.log },
        encodeLog({ level: 'warn', message: `${dropped} log records were dropped: there are too many` }),
      )
    this.#output.send({ type: FRAME.log }, encodeLog(record))
  }

  async ping(): Promise<void> {
    this.signal.throwIfAborted()
    await new Promise<void>((resolve, reject) => {
      this.#pings.push({ resolve, reject })
      this.#sendPing()
    })
  }

  async bye(reason: string): Promise<void> {
    this.#sendBye(reason)
    this.#end(new PgtsError('host-connect', `the connection to ${this.display} is closed: ${reason}`), 'leave')
    await this.ended
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.bye('it is not needed any more')
  }

  #listen(rest: Buffer): void {
    const { input, output } = this.#channel
    const onLost = () => void this.#lost()
    input.on('data', (bytes: Buffer) => this.#receive(bytes))
    input.on('end', onLost).on('close', onLost).on('error', onLost)
    output.on('error', onLost)
    if (rest.length > 0) this.#receive(rest)
    input.resume()
  }

  #receive(bytes: Buffer): void {
    if (this.signal.aborted) return
    this.#silence.heard()
    countReceived(bytes.length)
    try {
      for (const frame of this.#decoder.push(bytes)) {
        this.#dispatch(frame)
        if (this.signal.aborted) return
      }
    } catch (error) {
      this.#sendBye(messageOf(error))
      this.#end(this.#explained(error), 'flush')
    }
  }

  #dispatch(frame: Frame): void {
    if (this.#messages.accepts(frame)) {
      const message = this.#messages.add(frame)
      if (message !== undefined) this.#receiveMessage(message)
      return
    }
    const { type, stream, payload, more } = frame
    const isOwn = this.#isOwn(stream)
    switch (type) {
      case FRAME.data:
        return open(isOwn ? this.#requests.find(stream) : this.#serving.find(stream)).receiveData(payload, more)
      case FRAME.credit:
        return (isOwn ? this.#requests.find(stream) : this.#serving.find(stream))?.receiveCredit(payload.readUInt32BE())
      case FRAME.cancel:
        if (isOwn) throw new PgtsError('protocol', 'a request was cancelled by the end that serves it')
        return this.#serving.find(stream)?.receiveCancel()
      case FRAME.ping:
        // Without room the other end does not read: it sees that this end lives by what is queued.
        if (this.#output.isReady) this.#output.send({ type: FRAME.pong }, payload)
        return
      case FRAME.pong:
        for (const { resolve } of this.#pings.splice(0)) resolve()
        return
      case FRAME.log:
        return this.#receiveLog(payload)
      case FRAME.bye:
        return this.#receiveBye(payload)
    }
  }

  #receiveMessage(message: Message): void {
    const { type, stream, bytes, body } = message
    if (type === FRAME.end) {
      const fields = decodeValue(bytes)
      open(this.#isOwn(stream) ? this.#requests.find(stream) : this.#serving.find(stream)).receiveEnd(fields)
    } else if ((type === FRAME.request) === this.#isOwn(stream))
      throw new PgtsError('protocol', `a message of type ${type} is not valid for stream ${stream}`)
    else if (type === FRAME.request) this.#serving.start(message)
    else if (type === FRAME.answer) open(this.#requests.find(stream)).receiveAnswer(decodeValue(bytes), body)
    else open(this.#requests.find(stream)).receiveError(decodeError(decodeValue(bytes), this.display))
  }

  #receiveLog(payload: Buffer): void {
    const record = decodeLog(decodeValue(payload))
    if (this.#receivedLogs.admit()) this.#onLog?.(record)
  }

  #receiveBye(payload: Buffer): void {
    const reason = decodeValue(payload)
    const shown = typeof reason === 'string' ? bytesToText(shownBytes(Buffer.from(reason), 1000)) : 'no reason'
    this.#end(new PgtsError('host-connect', `${this.display} has closed the connection: ${shown}`), 'leave')
  }

  #isOwn(stream: number): boolean {
    return (stream % 2 === 1) === this.#isCaller
  }

  #sendPing(): void {
    this.#output.send({ type: FRAME.ping }, Buffer.alloc(8))
  }

  #sendBye(reason: string): void {
    if (!this.signal.aborted) this.#output.send({ type: FRAME.bye }, encodeValue(reason.slice(0, 1000)))
  }

  /** The other end has ended without BYE. */
  async #lost(): Promise<void> {
    if (this.signal.aborted) return
    const reason = await this.#channel.explainEnd()
    const message = `${this.display} terminated unexpectedly${reason ?? ''}`
    this.#end(new PgtsError('host-connect', message), 'destroy')
  }

  /** An error of the connection itself, with its name. */
  #explained(error: unknown): PgtsError {
    if (!isPgtsError(error)) return new PgtsError('assert', `${this.display}: ${messageOf(error)}`, { cause: error })
    const { code, message, hints } = error
    return new PgtsError(code, `${this.display}: ${message}`, { hints, cause: error })
  }

  /** @param how `leave` lets the handlers end first, `flush` only sends what is queued */
  #end(error: PgtsError, how: 'leave' | 'flush' | 'destroy'): void {
    if (this.signal.aborted) return
    this.#silence.stop()
    this.#abort.abort(error)
    for (const { reject } of this.#pings.splice(0)) reject(error)
    this.#requests.lose(error)
    this.#serving.lose(error)
    const over = how === 'destroy' ? this.#destroy() : this.#leave(how)
    void over.then(this.#resolveEnded)
  }

  async #leave(how: 'leave' | 'flush'): Promise<void> {
    const left = async () => {
      if (how === 'leave') await this.#serving.settled()
      await this.#output.end()
      if (how === 'leave') await this.#channel.closed
    }
    await atMost(how === 'leave' ? LEAVE_AFTER_MS : FLUSH_MS, left())
    await this.#destroy()
  }

  async #destroy(): Promise<void> {
    this.#channel.destroy()
    this.#output.wakeAll()
    await atMost(LEAVE_AFTER_MS, Promise.all([this.#serving.settled(), this.#channel.closed]))
  }
}

/** Time for the last frames to another end that is faulty. */
const FLUSH_MS = 1000

/** Frames of a closed stream are invalid, except CREDIT and CANCEL. */
function open<S>(stream: S | undefined): S {
  if (stream === undefined) throw new PgtsError('protocol', 'a frame belongs to a stream that has ended')
  return stream
}

/** Resolves with the promise, or when the time is over. */
async function atMost(ms: number, promise: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const over = new Promise((resolve) => (timer = setTimeout(resolve, ms)))
  await Promise.race([promise, over])
  clearTimeout(timer)
}
