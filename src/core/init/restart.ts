/** How this server is restarted. */
export interface RestartCommand {
  readonly command: string
  readonly args: readonly string[]
  /** The user that the command needs; `any` if root and the owner can both run it. */
  readonly as: 'root' | 'owner' | 'any'
  /** False: it cannot be run by pgts, only shown. */
  readonly runnable: boolean
}

export interface RunningServer {
  readonly pid: number
  readonly dataDirectory: string
  readonly configFile: string
  readonly binDirectory?: string
  readonly logFile?: string
  readonly service?: string
  readonly parentArgs: readonly string[]
}

/**
 * The command that restarts the server the way it was started: its systemd service, Debian's pg_ctlcluster, else pg_ctl.
 *
 * @param has whether this host has a program
 */
export function restartCommand(server: RunningServer, has: (program: string) => boolean): RestartCommand {
  const { pid, service, configFile, dataDirectory, binDirectory, logFile } = server
  if (isUnderPatroni(server.parentArgs)) return shown('patronictl', ['restart', 'CLUSTER'])
  if (pid === 1) return shown('docker', ['restart', 'CONTAINER'])
  if (service !== undefined && has('systemctl'))
    return { command: 'systemctl', args: ['restart', service.replace(/\.service$/, '')], as: 'root', runnable: true }
  const debian = /^\/etc\/postgresql\/([^/]+)\/([^/]+)\/postgresql\.conf$/.exec(configFile)
  if (debian !== null && has('pg_ctlcluster'))
    return { command: 'pg_ctlcluster', args: [debian[1]!, debian[2]!, 'restart'], as: 'any', runnable: true }
  const log = logFile === undefined ? [] : ['-l', logFile]
  return {
    command: binDirectory === undefined ? 'pg_ctl' : `${binDirectory}/pg_ctl`,
    args: ['restart', '-w', '-m', 'fast', '-D', dataDirectory, ...log],
    as: 'owner',
    runnable: binDirectory !== undefined && has(`${binDirectory}/pg_ctl`),
  }
}

/** Patroni overwrites the settings of its servers. */
export function isUnderPatroni(parentArgs: readonly string[]): boolean {
  return parentArgs.some((word) => /(?:^|\/)patroni$/.test(word))
}

/** The command as a person types it. */
export function restartText({ command, args, as }: RestartCommand, isRoot: boolean, owner: string): string {
  const words = [command, ...args].map(shellWord).join(' ')
  if (as === 'root' && !isRoot) return `sudo ${words}`
  return as === 'owner' && isRoot ? `runuser -u ${owner} -- ${words}` : words
}

/** Quoted for a shell only where that is needed. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
}

function shown(command: string, args: readonly string[]): RestartCommand {
  return { command, args, as: 'any', runnable: false }
}
