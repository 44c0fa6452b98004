import type { CompressType } from '../util/compress-type.ts'
import { PgtsError } from '../util/error.ts'
import { loadModule } from '../util/load-module.ts'
import { CODECS, defaultLevel } from './levels.ts'
import type { Codec, CodecOptions, Stage } from './stage.ts'

export { CODECS, defaultLevel, type CodecFacts } from './levels.ts'

/** Codecs are loaded at first use, so that a command without compression does not load them. */
const LOADERS: Record<CompressType, () => Promise<Codec>> = {
  none: () => Promise.resolve(identity),
  gz: async () => (await loadModule(() => import('./gz.ts'))).gz,
  lz4: async () => (await loadModule(() => import('./lz4.ts'))).openLz4(),
  zst: loadZst,
  bz2: async () => (await loadModule(() => import('./bz2.ts'))).openBz2(),
}

/** zstd-napi is faster and decompresses synchronously; Node's own zstd, if present, is used if it is missing. */
async function loadZst(): Promise<Codec> {
  const { openZst } = await loadModule(() => import('./zst.ts'))
  try {
    return openZst()
  } catch (error) {
    const { openNodeZst } = await loadModule(() => import('./zst-node.ts'))
    const codec = openNodeZst()
    if (codec === undefined) throw error
    return codec
  }
}
const loaded: Partial<Record<CompressType, Codec>> = {}

/**
 * Makes `compressor` and `decompressor` of this type available in this thread. Further calls are cheap.
 *
 * @throws PgtsError execute if its library cannot be loaded
 */
export async function loadCodec(type: CompressType): Promise<void> {
  loaded[type] ??= await LOADERS[type]()
}

/** A stage that compresses one file. `loadCodec(type)` must have been called; `pump` closes the stage. */
export function compressor(type: CompressType, level = defaultLevel(type), options: CodecOptions = {}): Stage {
  checkLevel(type, level)
  return codec(type).compressor(level, options)
}

/**
 * A stage that decompresses one file. Corrupt or truncated input throws `format` with the name of the codec, from
 * `push` or `finish`. `loadCodec(type)` must have been called.
 */
export function decompressor(type: CompressType, options: Pick<CodecOptions, 'raw'> = {}): Stage {
  return codec(type).decompressor(options.raw === true)
}

/**
 * Decompresses content that is in memory as a whole, in one call; undefined if a stage is as fast. The function returns the
 * size of the content, or more than the size of `into` if it does not fit. Corrupt or truncated input throws `format`.
 * `loadCodec(type)` must have been called.
 */
export function wholeDecompressor(type: CompressType): ((source: Uint8Array, into: Uint8Array) => number) | undefined {
  return codec(type).decompressWhole
}

/** True if the stages of this codec are synchronous. `loadCodec(type)` must have been called. */
export function isSynchronous(type: CompressType): boolean {
  return codec(type).synchronous
}

function codec(type: CompressType): Codec {
  const found = loaded[type]
  if (found === undefined) throw new PgtsError('assert', `codec ${type} was used before it was loaded`)
  return found
}

function checkLevel(type: CompressType, level: number): void {
  const range = CODECS[type].level
  if (range === undefined) return
  if (!Number.isInteger(level) || level < range.min || level > range.max)
    throw new PgtsError('option-invalid-value', `level ${level} is out of range for ${type} compression`, {
      hints: [`set compress-level to a value from ${range.min} to ${range.max}`],
    })
}

const identity: Codec = { synchronous: true, compressor: passThrough, decompressor: passThrough }

function passThrough(): Stage {
  return { push: (chunk) => [chunk], finish: () => [] }
}
