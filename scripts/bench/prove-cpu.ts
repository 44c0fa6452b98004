import { join } from 'node:path'
import type { Hosts } from '../../test/support/hosts/hosts.ts'
import type { TreeCpu } from './tree-cpu.ts'

/** A process of Node that uses this much CPU time, its start included. */
const BURNT_SECONDS = 0.5
const BURN = `node -e 'while (((used) => used.user + used.system)(process.cpuUsage()) < ${BURNT_SECONDS}e6);'`
/** ssh, sshd, shells, and the end of each process. */
const MOST_FURTHER_SECONDS = 0.4

/**
 * Runs known work, because a CPU time that lacks processes looks plausible: a process here, one in a session of ssh, and one
 * that such a session leaves behind.
 */
export async function proveCpu({ postgres, repository }: Hosts, cpu: TreeCpu): Promise<void> {
  const there = `setsid ${BURN} </dev/null >/dev/null 2>&1 & ${BURN}`
  const words = [
    '-ec',
    `${BURN}; exec "$@"`,
    'sh',
    join(repository.dir, 'bin/ssh'),
    `${postgres.user.name}@pg-host`,
    there,
  ]
  const before = await cpu.seconds()
  const { code, stderr } = await repository.run('sh', words)
  if (code !== 0) throw new Error(`ssh ended with ${code}: ${stderr}`)
  const further = (await cpu.seconds()) - before - 3 * BURNT_SECONDS
  console.log(
    `CPU time of ${3 * BURNT_SECONDS} s of known work on both hosts: ${further.toFixed(2)} s more was counted\n`,
  )
  if (further < 0 || further > MOST_FURTHER_SECONDS) throw new Error('the CPU time is not counted correctly')
}
