// Turns a CommonJS bundle into NAME.packed (its code, and what V8 made of that) and NAME.cjs, a few lines that run it: so a
// start neither parses nor compiles. It is one file, because V8 compares no more of a code with a cache than its length,
// and dist may be replaced at any moment. V8 itself refuses a cache of another version or of other flags, and compiles.
import { spawn } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

/** @param bundle path of NAME.cjs. @param entry Node is started with it: it must never end with 1, see last-resort.ts */
export async function packWithCache(bundle, { entry = false } = {}) {
  const code = await readFile(bundle, 'latin1')
  // It is read as latin1, which V8 keeps as it is.
  if (/[^\x00-\x7f]/.test(code)) throw new Error(`${bundle} is not plain ASCII`)
  // Code from a cache has lost the way to import (ERR_VM_DYNAMIC_IMPORT_CALLBACK_MISSING), so it gets one.
  const body = code.replaceAll(/\bimport\(/g, 'pgtsImport(')
  const packed = bundle.replace(/\.cjs$/, '.packed')
  await writeFile(packed, `(function (exports, require, module, __filename, __dirname, pgtsImport) {${body}\n})`)
  await run(process.execPath, [fileURLToPath(new URL('./pack.mjs', import.meta.url)), packed])
  await writeFile(bundle, starter(bundle.replace(/.*\//, ''), entry))
}

const starter = (name, entry) => `'use strict'
const load = () => {
  const bytes = require('node:fs').readFileSync(__dirname + '/${name.replace(/\.cjs$/, '.packed')}')
  const codeEnd = bytes.readUInt32LE(0) + 8
  const code = bytes.latin1Slice(8, codeEnd)
  const cachedData = bytes.subarray(Math.ceil(codeEnd / 8) * 8)
  const { Script } = require('node:vm')
  return new Script(code, { filename: '${name}', cachedData }).runInThisContext()
}
let start
${
  entry
    ? `try {
  start = load()
} catch (error) {
  const { existsSync } = require('node:fs')
  console.error('pgts: ' + error.message + ': is pgts being installed at this moment?')
  // As bin/pgts: PostgreSQL would take 1 for the end of WAL.
  process.exit(existsSync('recovery.signal') && !existsSync('standby.signal') ? 127 : 125)
}`
    : 'start = load()'
}
start(exports, require, module, __filename, __dirname, (url) => import(url))
`

function run(command, args) {
  return new Promise((resolve, reject) => {
    spawn(command, args, { stdio: 'inherit' })
      .once('error', reject)
      .once('exit', (code) => (code === 0 ? resolve() : reject(new Error(`${args.join(' ')} ended with ${code}`))))
  })
}
