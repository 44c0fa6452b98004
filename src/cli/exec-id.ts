let own: string | undefined

/** `<pid>-<8 hex digits>`: identifies this run in lock files, and to its processes on other hosts. */
export function execId(): string {
  // The property loads a module of Node, which most commands do not need.
  own ??= `${process.pid}-${Buffer.from(globalThis.crypto.getRandomValues(new Uint8Array(4))).toString('hex')}`
  return own
}
