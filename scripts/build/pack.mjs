// `node pack.mjs FILE`: compiles the code in it and appends V8's cache: 4 bytes length of the code, 4 unused bytes, the code,
// up to 7 bytes so that the rest is aligned, the cache. In a separate process, because it changes the flags of V8.
import { readFileSync, writeFileSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { Script } from 'node:vm'

const [file] = process.argv.slice(2)
const code = readFileSync(file, 'latin1')
const filename = file.replace(/.*\//, '').replace(/packed$/, 'cjs')
// Compile all functions: otherwise those that are called would be compiled at each start.
setFlagsFromString('--no-lazy')
const script = new Script(code, { filename })
setFlagsFromString('--lazy')
const head = Buffer.alloc(8)
head.writeUInt32LE(code.length, 0)
const gap = Buffer.alloc((8 - (code.length % 8)) % 8)
writeFileSync(file, Buffer.concat([head, Buffer.from(code, 'latin1'), gap, script.createCachedData()]))
