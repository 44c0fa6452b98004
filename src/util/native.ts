import { constants } from 'node:os'
import { requireModule } from './load-module.ts'

type Value = number | Buffer | BigInt64Array

/** A function of the C library; `errno` is that of the last call. */
export interface NativeFunction {
  call(...values: readonly Value[]): number
  errno(): number
}

/**
 * A function of the C library, which every process has loaded, with a prototype in C. It is looked up at the first use:
 * loading koffi takes 15 ms, which most commands do not need.
 *
 * @throws PgtsError execute if koffi cannot be loaded; the error of koffi if the C library lacks the function
 */
export function nativeFunction(prototype: string): () => NativeFunction {
  let found: NativeFunction | undefined
  return () => {
    if (found !== undefined) return found
    const koffi = requireModule<typeof import('koffi')>('koffi')
    found = { call: koffi.load(null).func(prototype), errno: () => koffi.errno() }
    return found
  }
}

/** An error as Node gives it, with its `code` (`EEXIST`). */
export function errnoError(name: string, number: number): Error {
  const code = Object.entries(constants.errno).find(([, value]) => value === number)?.[0] ?? `errno ${number}`
  return Object.assign(new Error(`${name} failed: ${code}`), { code })
}
