/** Call a function periodically until disposed. @param ms interval in milliseconds */
export function every(ms: number, act: () => void): Disposable {
  const timer = setInterval(act, ms)
  return { [Symbol.dispose]: () => clearInterval(timer) }
}
