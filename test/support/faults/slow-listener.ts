import { connect, type Socket } from 'node:net'
import { Worker } from 'node:worker_threads'

/** Runs in a thread of its own, so that it can block. */
const LISTENER = `
const { parentPort, workerData } = require('node:worker_threads')
const { host, port, flag } = workerData
const server = require('node:net').createServer((socket) => socket.on('error', () => undefined).end('accepted'))
server.listen({ host, port, backlog: 1 }, () => {
  parentPort.postMessage(server.address().port)
  Atomics.wait(flag, 0, 0)
})
`

/**
 * Listens and accepts nothing until it is released: when its queue is full, the kernel drops connection requests, as for
 * an address that does not answer.
 */
export class SlowListener implements AsyncDisposable {
  readonly #fillers: Socket[] = []

  private constructor(
    readonly host: string,
    readonly port: number,
    private readonly worker: Worker,
    private readonly flag: Int32Array,
  ) {}

  static async start(host: string, port = 0): Promise<SlowListener> {
    const flag = new Int32Array(new SharedArrayBuffer(4))
    const worker = new Worker(LISTENER, { eval: true, workerData: { host, port, flag } })
    const bound = await new Promise<number>((resolve, reject) => worker.once('message', resolve).once('error', reject))
    return new SlowListener(host, bound, worker, flag)
  }

  /** With a backlog of 1 Linux accepts two connections. */
  async fill(): Promise<void> {
    for (let i = 0; i < 2; i++) {
      const socket = connect(this.port, this.host)
      this.#fillers.push(socket)
      await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject))
    }
  }

  /** Accept from now on. */
  release(): void {
    Atomics.store(this.flag, 0, 1)
    Atomics.notify(this.flag, 0)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#fillers) socket.destroy()
    this.release()
    await this.worker.terminate()
  }
}
