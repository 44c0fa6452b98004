// The start file main.cjs: it refuses an old Node before that reads code which only a newer one can parse, and reports a file of
// dist that cannot be loaded. Therefore it is written in old JavaScript.

const head = (needed) => `// Written by scripts/build/starter.mjs.
var found = process.versions.node
var parts = found.split('.')
function fail(code, message, hint) {
  console.error('ERROR: [' + code + ']: ' + message + '\\n       HINT: ' + hint)
  // For bin/pgts an exit code of the launcher protocol, see src/cli/launch.ts.
  process.exit(Number(code) + (/^--launched=[0-9]/.test(process.argv[2]) ? 128 : 0))
}
function incomplete(error) {
  // The first line of its stack is the place of a syntax error.
  var place = error instanceof SyntaxError ? String(error.stack).split('\\n')[0] + ': ' : ''
  var message = String(error && error.message).split('\\n')[0]
  // As src/util/load-module.ts, which is not loaded yet.
  var full = /^E[MN]FILE: (.*?), open '(.*)'/.exec(message)
  if (full) fail('102', 'cannot load ' + full[2] + ': ' + full[1], 'raise the limit of open files: ulimit -n, or LimitNOFILE= of the systemd service')
  fail('102', 'pgts is not completely installed: ' + place + message,
    'install pgts again; if it was being installed at this moment, run the command again')
}
function isTooOld(major, minor) {
  return parts[0] < major || (parts[0] == major && parts[1] < minor)
}
process.exitCode = 102
if (isTooOld(${needed.split('.').map(Number).join(', ')}))
  fail('046', 'Node ' + found + ' is too old: pgts requires Node ${needed} or newer', 'install a newer Node, or set PGTS_NODE to the path of one')
`

/**
 * Makes main.cjs from the lines that run the bundle and keep its exports. bin/pgts recognises a complete file by its last line.
 *
 * @param needed MAJOR.MINOR, as package.json says
 */
export const starterOf = (needed) => (lines) => `${head(needed)}
try {
${lines}
  if (typeof module.exports.start !== 'function') throw new Error('it is truncated')
} catch (error) {
  incomplete(error)
}
module.exports.start()
// end of main.cjs
`
