import { readFileSync } from 'node:fs'
import { PgtsError } from '../util/error.ts'
import { loadFailure } from '../util/load-module.ts'

/** Addresses and sizes are bytes in the instance's memory; what they mean is said in native/kernels.c. */
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

/** The part of WebAssembly that is used here; TypeScript knows it only together with a browser's other types. */
interface Wasm {
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (module: object, imports: object) => { readonly exports: unknown }
}
const wasm = (globalThis as unknown as { WebAssembly: Wasm }).WebAssembly

let compiled: object | undefined

/** Compile the module, once on each thread. @throws PgtsError execute when it cannot be loaded */
export function loadKernels(): object {
  try {
    return (compiled ??= new wasm.Module(readModule()))
  } catch (error) {
    throw loadFailure(error, 'kernels.wasm')
  }
}

/**
 * One instance of the WebAssembly module built from native/, with a memory of its own: whatever it holds is valid
 * until it is called again, and never moves because of another instance.
 * @see docs/decisions/0003-codecs.md
 */
export class Kernel {
  readonly call: KernelExports
  #bytes: Uint8Array

  constructor() {
    this.call = instance()
    this.#bytes = new Uint8Array(this.call.memory.buffer)
  }

  /** The memory of the instance. A view of it is void after a call that may allocate. */
  get bytes(): Uint8Array {
    if (this.#bytes.length === 0) this.#bytes = new Uint8Array(this.call.memory.buffer)
    return this.#bytes
  }

  /** Makes room for input; for kernels that only read. */
  open(inputBytes: number): void {
    if (this.call.open_input(inputBytes) === 0) throw new PgtsError('memory', 'no memory for a WebAssembly buffer')
  }

  /** What `verify_pages` left at the start of the input buffer. */
  inputWords(count: number): Uint32Array {
    return new Uint32Array(this.call.memory.buffer, this.call.input_buffer(), count)
  }

  /** Copies `chunk` to where kernels read. */
  setInput(chunk: Uint8Array): void {
    this.bytes.set(chunk, this.call.input_buffer())
  }

  /** What `xxh3_blocks` left at the start of the input buffer. */
  input(length: number): Uint8Array {
    const start = this.call.input_buffer()
    return this.bytes.subarray(start, start + length)
  }

  /** What a kernel left in the output buffer. */
  output(length: number): Uint8Array {
    const start = this.call.output_buffer()
    return this.bytes.subarray(start, start + length)
  }

  /** The name of an LZ4 error, or undefined when `code` is a size. */
  lz4Error(code: number): string | undefined {
    // A size is far below; asking the kernel each time is not needed.
    if (code >= 0) return undefined
    const start = this.call.lz4_error(code)
    if (start === 0) return undefined
    const text = this.bytes.subarray(start, this.bytes.indexOf(0, start))
    return Buffer.from(text).toString('latin1')
  }

  /** Checks the answer of a call that fails only by our fault or for want of memory. */
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
