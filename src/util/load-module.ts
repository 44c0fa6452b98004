import { closeSync, openSync } from 'node:fs'
import { isBuilt } from './version.ts'
import { messageOf, PgtsError, systemCode } from './error.ts'

/**
 * Loads a module of pgts when it is needed: `await loadModule(() => import('./x.ts'))`. All dynamic imports use this
 * function.
 *
 * @throws PgtsError execute if the module, or one that it needs, cannot be loaded
 */
export async function loadModule<T extends object>(load: () => Promise<T>): Promise<T> {
  try {
    const module = await load()
    // The exports of a bundled file are its last statement: without them it is empty or truncated, and still valid JavaScript.
    if (Object.keys(module).length === 0) throw new Error('it is truncated')
    return module
  } catch (error) {
    throw loadFailure(error, nameIn(error) ?? /import\(['"]([^'"]+)/.exec(String(load))?.[1])
  }
}

/**
 * Loads a package or a separate bundle file synchronously. A failure is not cached: the next call tries again.
 *
 * @param name of the package, or `./NAME.js` for an entry of the build; the types of `T` are those of that module
 * @throws PgtsError execute when it cannot be loaded
 */
export function requireModule<T>(name: string, hints: readonly string[] = []): T {
  try {
    // The build gives every module a function that finds the others in program.packed.
    // eslint-disable-next-line @typescript-eslint/no-require-imports
    return (isBuilt ? require(name) : process.getBuiltinModule('node:module').createRequire(import.meta.url)(name)) as T
  } catch (error) {
    throw loadFailure(error, /^[^./][^/]*/.exec(name)?.[0] ?? name, hints)
  }
}

/**
 * The error for a module of pgts that cannot be loaded. It says nothing about the cluster or a repository, so it has a
 * code that reading a file never has: see `isHostError`.
 *
 * @param name of the module, if the caller knows it better than the error
 */
export function loadFailure(error: unknown, name = nameIn(error), hints: readonly string[] = []): PgtsError {
  // The module itself failed to load another one.
  if (error instanceof PgtsError) return error
  const message = messageOf(error)
  const module = name ?? 'a part of it'
  const limit = limitOf(error, message)
  if (limit !== undefined) {
    return new PgtsError('execute', `cannot load ${module}: ${limit.reason}`, { hints: [limit.hint], cause: error })
  }
  const reason = message.split('\n', 1)[0]!
  return new PgtsError('execute', `pgts is not completely installed: ${module} cannot be loaded (${reason})`, {
    hints: [...hints, ...INSTALL_HINTS],
    cause: error,
  })
}

/** True if an error that ended a thread before its program ran means that a file of the program cannot be loaded. */
export function isLoadFailure(error: unknown): boolean {
  const code = systemCode(error)
  return (
    error instanceof SyntaxError ||
    code?.endsWith('MODULE_NOT_FOUND') === true ||
    code === 'ERR_WORKER_INIT_FAILED' ||
    // The file that has the modules.
    code === 'ENOENT' ||
    code === 'EACCES' ||
    LIMITS.some((limit) => limit.code === code)
  )
}

/** The file named by Node: in the message, or before the stack if the file has a syntax error. */
function nameIn(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined
  const missing = /(?:Cannot find (?:module|package)|open) '([^']+)'/.exec(error.message)
  return (missing ?? /^(?:file:\/\/)?(\/[^\n:]+):\d+\n/.exec(error.stack ?? ''))?.[1]
}

const INSTALL_HINTS = [
  'install pgts again (in a clone: npm ci), and check that its files are readable by this user',
  'if pgts was being installed or upgraded at this moment, run the command again',
]

/**
 * Failures of the host, by the code of the system call and by the text of the dynamic loader, which returns no code.
 */
const LIMITS = [
  {
    code: 'ENFILE',
    text: /Too many open files in system|\bENFILE\b/,
    reason: 'too many open files on this host',
    hint: 'raise the kernel setting fs.file-max, or find the process that has so many open files',
  },
  {
    code: 'EMFILE',
    text: /Too many open files|\bEMFILE\b/,
    reason: 'too many open files',
    hint: 'raise the limit of open files: ulimit -n, or LimitNOFILE= of the systemd service',
  },
  {
    code: 'ENOMEM',
    text: /Cannot allocate memory|Out of memory|\bENOMEM\b/i,
    reason: 'out of memory',
    hint: 'check the free memory of the host and the limits of this process: ulimit -v, MemoryMax= of the systemd service',
  },
  {
    code: 'EIO',
    text: /Input\/output error|\bEIO\b/,
    reason: 'input/output error',
    hint: 'check the disk that pgts is installed on, and the log of the kernel',
  },
] as const

function limitOf(error: unknown, message: string): (typeof LIMITS)[number] | undefined {
  // Node and packages search for files in several places, and report files that they could not open as missing.
  const code = systemCode(error)
  const known = LIMITS.find((limit) => limit.code === code) ?? LIMITS.find((limit) => limit.text.test(message))
  return known ?? LIMITS.find((limit) => limit.code === failureToOpen())
}

/** The system error code if this process cannot open any file. */
function failureToOpen(): string | undefined {
  try {
    closeSync(openSync('/dev/null', 'r'))
    return undefined
  } catch (error) {
    return systemCode(error)
  }
}
