// Turns a CommonJS bundle into NAME.packed (its code with V8's code cache) and NAME.cjs, a few lines that run it, so that a
// start neither parses nor compiles. Code and cache are one file, because V8 compares only the length of the code with a cache,
// and dist may be replaced at any moment. V8 itself refuses a cache of another version or of other flags, and then compiles the code.
import { spawn } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

/** @param bundle path of NAME.cjs. @param wrap makes the start file from the lines that run the bundle */
export async function packWithCache(bundle, wrap = (lines) => lines) {
  const code = await readFile(bundle, 'latin1')
  // It is read as latin1, which V8 does not convert.
  if (/[^\x00-\x7f]/.test(code)) throw new Error(`${bundle} is not plain ASCII`)
  // Code from a cache cannot import (ERR_VM_DYNAMIC_IMPORT_CALLBACK_MISSING), so it receives a function that can.
  const body = code.replaceAll(/\bimport\(/g, 'pgtsImport(')
  const packed = bundle.replace(/\.cjs$/, '.packed')
  await writeFile(packed, `(function (exports, require, module, __filename, __dirname, pgtsImport) {${body}\n})`)
  await run(process.execPath, [fileURLToPath(new URL('./pack.mjs', import.meta.url)), packed])
  await writeFile(bundle, wrap(runner(bundle.replace(/.*\//, ''))))
}

const runner = (
  name,
) => `const bytes = require('node:fs').readFileSync(__dirname + '/${name.replace(/\.cjs$/, '.packed')}')
const codeEnd = bytes.readUInt32LE(0) + 8
const code = bytes.latin1Slice(8, codeEnd)
const cachedData = bytes.subarray(Math.ceil(codeEnd / 8) * 8)
const { Script } = require('node:vm')
const start = new Script(code, { filename: '${name}', cachedData }).runInThisContext()
start(exports, require, module, __filename, __dirname, (url) => import(url))
`

function run(command, args) {
  return new Promise((resolve, reject) => {
    spawn(command, args, { stdio: 'inherit' })
      .once('error', reject)
      .once('exit', (code) => (code === 0 ? resolve() : reject(new Error(`${args.join(' ')} ended with ${code}`))))
  })
}
