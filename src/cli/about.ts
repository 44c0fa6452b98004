import type { AnyResolved } from '../config/resolve.ts'
import { pgtsVersion } from '../util/version.ts'
import type { Outcome } from './outcome.ts'
import type { Process } from './run.ts'

/** `pgts 0.1.0`, or the number that scripts compare: major * 10^6 + minor * 10^3 + patch, without a line end. */
export function version(resolved: AnyResolved): Outcome {
  if (resolved.options.output !== 'num') return { text: `pgts ${pgtsVersion}\n` }
  const [major = 0, minor = 0, patch = 0] = pgtsVersion.split(/[.-]/).map(Number)
  return { text: String(major * 1_000_000 + minor * 1000 + patch) }
}

export async function help(_argv: readonly string[], _process: Process): Promise<Outcome> {
  return { text: '' }
}
