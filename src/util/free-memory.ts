import type { MessagePort } from 'node:worker_threads'

let closed: MessagePort | undefined

/**
 * Frees the memory of a buffer now; its length is 0 afterwards. For large buffers that a library allocates in every call:
 * garbage collection frees them late, after tens of MB, and each new one costs page faults.
 *
 * @param bytes the only view of its memory that is still used
 */
export function freeMemory(bytes: Uint8Array<ArrayBuffer>): void {
  // A message takes over the memory in its transfer list. A message to a closed port is dropped at once, with this memory.
  closed ??= closedPort()
  closed.postMessage(null, [bytes.buffer])
}

function closedPort(): MessagePort {
  const { port1, port2 } = new MessageChannel()
  port1.close()
  port2.close()
  return port1
}
