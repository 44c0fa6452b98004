import { readFileSync } from 'node:fs'
import { PgtsError } from '../util/error.ts'
import { loadFailure } from '../util/load-module.ts'

/** Addresses and sizes are bytes in the memory of the instance; native/kernels.c documents the functions. */
interface KernelExports {
  readonly memory: { readonly buffer: ArrayBuffer }
  input_buffer(): number
  output_buffer(): number
  open_input(bytes: number): number
  lz4_error(code: number): number
  lz4_open_compressor(level: number, contentChecksum: 0 | 1, inputBytes: number): number
  lz4_begin(large: 0 | 1): number
  lz4_compress(bytes: number): number
  lz4_end(): number
  lz4_open_decompressor(inputBytes: number, outputBytes: number): number
  lz4_reset_decompressor(): void
  lz4_consumed(): number
  lz4_expected(): number
  lz4_decompress(offset: number, bytes: number): number
  bz2_open(inputBytes: number, outputBytes: number): 0 | 1
  bz2_begin(level: number): number
  bz2_compress(offset: number, bytes: number, finish: 0 | 1): number
  bz2_decompress(offset: number, bytes: number): number
  bz2_consumed(): number
  bz2_produced(): number
  xxh3_128(bytes: number): number
  xxh3_blocks(bytes: number, blockSize: number): void
  verify_pages(pages: number, pageSize: number, firstBlock: number, headerCheck: 0 | 1): number
}

/** The used part of WebAssembly; TypeScript has its types only in the browser library. */
interface Wasm {
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (module: object, imports: object) => { readonly exports: unknown }
}
const wasm = (globalThis as unknown as { WebAssembly: Wasm }).WebAssembly

let compiled: object | undefined

/** Compiles the module, once per thread. @throws PgtsError execute if it cannot be loaded */
export function loadKernels(): object {
  try {
    return (compiled ??= new wasm.Module(readModule()))
  } catch (error) {
    throw loadFailure(error, 'kernels.wasm')
  }
}

/**
 * One instance of the WebAssembly module built from native/, with its own memory: its content is valid until the
 * instance is called again, and other instances do not change it.
 * @see docs/decisions/0003-codecs.md
 */
export class Kernel {
  readonly call: KernelExports
  #bytes: Uint8Array

  constructor() {
    this.call = instance()
    this.#bytes = new Uint8Array(this.call.memory.buffer)
  }

  /** The memory of the instance. A view is invalid after a call that may allocate. */
  get bytes(): Uint8Array {
    if (this.#bytes.length === 0) this.#bytes = new Uint8Array(this.call.memory.buffer)
    return this.#bytes
  }

  /** Allocates an input buffer; for functions that only read. */
  open(inputBytes: number): void {
    if (this.call.open_input(inputBytes) === 0) throw new PgtsError('memory', 'no memory for a WebAssembly buffer')
  }

  /** The result of `verify_pages`, at the start of the input buffer. */
  inputWords(count: number): Uint32Array {
    return new Uint32Array(this.call.memory.buffer, this.call.input_buffer(), count)
  }

  /** Copies `chunk` to the input buffer. */
  setInput(chunk: Uint8Array): void {
    this.bytes.set(chunk, this.call.input_buffer())
  }

  /** The result of `xxh3_blocks`, at the start of the input buffer. */
  input(length: number): Uint8Array {
    const start = this.call.input_buffer()
    return this.bytes.subarray(start, start + length)
  }

  /** The content of the output buffer. */
  output(length: number): Uint8Array {
    const start = this.call.output_buffer()
    return this.bytes.subarray(start, start + length)
  }

  /** The name of an LZ4 error, or undefined if `code` is a size. */
  lz4Error(code: number): string | undefined {
    // Error codes are negative as 32-bit numbers, so a size needs no call.
    if (code >= 0) return undefined
    const start = this.call.lz4_error(code)
    if (start === 0) return undefined
    const text = this.bytes.subarray(start, this.bytes.indexOf(0, start))
    return Buffer.from(text).toString('latin1')
  }

  /** Checks the result of a call that fails only because of a bug or missing memory. */
  succeed(code: number): number {
    const error = this.lz4Error(code)
    if (error !== undefined) throw new PgtsError('memory', `lz4 failed: ${error}`)
    return code
  }
}

function instance(): KernelExports {
  const module = loadKernels()
  try {
    return new wasm.Instance(module, {}).exports as KernelExports
  } catch (error) {
    throw loadFailure(error, 'kernels.wasm')
  }
}

/** Beside this file in src/, and beside the bundles in dist/. */
function readModule(): Uint8Array {
  return readFileSync(new URL('./kernels.wasm', import.meta.url))
}
