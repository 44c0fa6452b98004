// dist/cli/program.packed: all JavaScript of pgts, and V8's code cache for it. esbuild splits the program into modules; a start reads
// those that it needs from this one file, which stays open, so that a running program never reads the modules of another release.
//
//   32 bytes  version of V8 that made the caches
//    4 bytes  size of the file
//    4 bytes  size of the index
//   index     JSON: name of a module -> [offset, bytes of code, bytes of cache]
//   modules   code, up to 7 bytes so that the rest is aligned, cache
//
// A truncated file is an error. A cache of another version of V8 is not used, and V8 refuses one that was made with other flags.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { Script } from 'node:vm'

const HEAD_BYTES = 40
const align = (bytes) => (bytes + 7) & ~7

/**
 * Write the file.
 *
 * @param modules from the name to the code
 * @param cacheOf returns the cache of a module
 */
export function writePacked(path, modules, cacheOf) {
  const index = {}
  const parts = []
  const sizes = [...modules].map(([name, code]) => [name, Buffer.from(wrapped(code), 'latin1'), cacheOf(name, code)])
  // Numbers of the same width, so that the size of the index does not depend on the offsets in it.
  const place = (offset, code, cache) => [offset, code, cache].map((number) => String(number).padStart(9))
  const textOf = () => `{${Object.entries(index).map(([name, entry]) => `${JSON.stringify(`./${name}`)}:[${entry}]`)}}`
  for (const [name] of sizes) index[name] = place(0, 0, 0)
  const indexBytes = align(textOf().length)
  let offset = HEAD_BYTES + indexBytes
  for (const [name, code, cache] of sizes) {
    index[name] = place(offset, code.length, cache.length)
    const bytes = align(code.length) + align(cache.length)
    parts.push(Buffer.concat([code, Buffer.alloc(align(code.length) - code.length), cache], bytes))
    offset += bytes
  }
  const head = Buffer.alloc(HEAD_BYTES)
  head.write(process.versions.v8, 'latin1')
  head.writeUInt32LE(offset, 32)
  head.writeUInt32LE(indexBytes, 36)
  writeFileSync(path, Buffer.concat([head, Buffer.from(textOf().padEnd(indexBytes)), ...parts]))
}

/** Code is read as latin1, which V8 does not convert. Its first line is that of the source map. */
function wrapped(code) {
  if (/[^\x00-\x7f]/.test(code)) throw new Error('a module is not plain ASCII')
  return `(function (exports, require, module, __filename, __dirname, pgtsUrl) {\n${code}\n})`
}

/** The functions that `exercise` called in a module; all functions of a module that it did not load. */
export function learnedCache(directory) {
  return (name, code) => {
    const path = `${directory}/${name}.cache`
    return existsSync(path) ? readFileSync(path) : compileAll(name, code)
  }
}

function compileAll(name, code) {
  setFlagsFromString('--no-lazy')
  const script = new Script(wrapped(code), { filename: name })
  setFlagsFromString('--lazy')
  return script.createCachedData()
}

/**
 * The lines that run a module and keep its exports. In JavaScript that old versions of Node can parse: see starter.mjs.
 *
 * @param entry name of the module
 * @param learnIn for the build: a directory that receives the caches of what ran when the thread ends, and that provides them
 */
export const loader = (entry, learnIn) => `var fs = require('fs')
var Script = require('vm').Script
var packed = __dirname + '/program.packed'
var url = require('url').pathToFileURL(__filename).href
var file = fs.openSync(packed, 'r')
function truncated() {
  return Object.assign(new Error(packed + ' is truncated'), { code: 'ERR_WORKER_INIT_FAILED' })
}
function read(offset, bytes) {
  var buffer = Buffer.allocUnsafeSlow(bytes)
  for (var at = 0, got; at < bytes; at += got) {
    got = fs.readSync(file, buffer, at, bytes - at, offset + at)
    if (got === 0) throw truncated()
  }
  return buffer
}
var head = read(0, ${HEAD_BYTES})
if (fs.fstatSync(file).size !== head.readUInt32LE(32)) throw truncated()
var isSameV8 = head.latin1Slice(0, 32).replace(/\\0+$/, '') === process.versions.v8
var index = JSON.parse(read(${HEAD_BYTES}, head.readUInt32LE(36)).latin1Slice())
var loaded = {}
function load(name) {
  if (loaded[name] !== undefined) return loaded[name].exports
  var place = index[name]
  if (place === undefined) return require(name)
  var cacheStart = (place[1] + 7) & ~7
  var bytes = read(place[0], cacheStart + place[2])
  var script = new Script(bytes.latin1Slice(0, place[1]), {
    filename: name.slice(2),
    cachedData: isSameV8 && place[2] > 0 ? bytes.subarray(cacheStart) : undefined
  })
  var module = (loaded[name] = { exports: {} })
  try {
    script.runInThisContext()(module.exports, load, module, __filename, __dirname, url)
  } catch (error) {
    delete loaded[name]
    throw error
  }
  return module.exports
}
${learnIn === undefined ? '' : learner(learnIn)}module.exports = load('./${entry}')
`

/** What a thread compiled is added to the caches that earlier ones left, so one call of each command is enough. */
const learner = (directory) => `var scripts = {}
var Plain = Script
Script = function (code, options) {
  var path = '${directory}/' + options.filename + '.cache'
  var cachedData = fs.existsSync(path) ? fs.readFileSync(path) : undefined
  return (scripts[path] = new Plain(code, { filename: options.filename, cachedData: cachedData }))
}
process.on('exit', function () {
  for (var path in scripts) fs.writeFileSync(path, scripts[path].createCachedData())
})
`
