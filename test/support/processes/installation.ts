import { cpSync, mkdirSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  describeRun,
  giveToTestUser,
  makeTestDir,
  projectRoot,
  runAs,
  testUser,
  type RunOptions,
  type RunResult,
} from './test-user.ts'

/** The packages that are installed at run time. */
const PACKAGES = ['@koromix', 'koffi', 'zstd-napi']

/** A copy of the built program as an operator installs it, with the run-time packages only. */
export class Installation {
  readonly dir = makeTestDir('installation')

  constructor(packages: readonly string[] = PACKAGES) {
    for (const name of ['bin', 'dist', 'package.json']) this.#copy(name)
    mkdirSync(join(this.dir, 'node_modules'))
    for (const name of packages) this.#copy(`node_modules/${name}`)
    giveToTestUser(this.dir)
  }

  #copy(name: string): void {
    // The sources of zstd are three quarters of its package.
    const filter = (source: string) => !/\/(deps|obj\.target)$|\.map$/.test(source)
    cpSync(join(projectRoot, name), join(this.dir, name), { recursive: true, verbatimSymlinks: true, filter })
  }

  /** Names below a folder, from the root of the installation. @param start prefix of the names */
  names(folder: string, start: string): string[] {
    const found = readdirSync(join(this.dir, folder)).filter((name) => name.startsWith(start))
    return found.map((name) => join(folder, name))
  }

  /** With an empty file in place of `name`, or without it. */
  async without<T>(name: string, how: 'missing' | 'empty', work: () => Promise<T>): Promise<T> {
    const path = join(this.dir, name)
    renameSync(path, `${path}.aside`)
    try {
      if (how === 'empty') {
        writeFileSync(path, '')
        giveToTestUser(path)
      }
      return await work()
    } finally {
      renameSync(`${path}.aside`, path)
    }
  }

  run(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return runAs(testUser, join(this.dir, 'bin/pgts'), args, { cwd: this.dir, deadlineMs: 120_000, ...options })
  }

  /** As `run`; an exit code other than 0 is an error that shows the output. */
  async runOk(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    const result = await this.run(args, options)
    if (result.code !== 0) throw new Error(describeRun('pgts', args, result))
    return result
  }
}
