import { PgtsError } from '../util/error.ts'
import type { CommandContext } from './context.ts'
import { Collector } from './metrics/collect.ts'
import { exposition } from './metrics/exposition.ts'
import { parseEndpoint, serve } from './metrics/serve.ts'
import { writeOutput } from './shared/write-output.ts'

/** Readable by everyone: node_exporter, which reads it, has another user. It contains no secrets. */
const FILE_MODE = 0o644

/**
 * The state of the repositories and of archiving for Prometheus: once, into a file or as text, or as an HTTP endpoint until
 * the signal. @returns the text to print; undefined if it was written elsewhere
 */
export async function metrics(ctx: CommandContext<'metrics'>): Promise<string | undefined> {
  const { clock, log, options, signal } = ctx
  const { file, listen } = options
  const collector = new Collector(ctx)
  const create = async () => exposition(await collector.collect())
  if (listen === undefined) {
    const text = await create()
    if (file === undefined) return text
    writeOutput('the metrics', file, text, FILE_MODE)
    return undefined
  }
  if (file !== undefined) {
    throw new PgtsError('option-invalid', 'options --file and --listen cannot be used together', {
      hints: ['--file writes once, for the textfile collector of node_exporter; --listen answers requests'],
    })
  }
  await serve(create, {
    endpoint: parseEndpoint(listen),
    intervalMs: options.interval ?? 0,
    nowMs: () => clock.nowMs(),
    log,
    signal,
  })
  return undefined
}
