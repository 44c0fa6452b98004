import { Gauge, Registry } from 'prom-client'
import type { MetricFamily } from '../../core/metrics/family.ts'

/** Prometheus' text format, version 0.0.4. */
export async function exposition(families: readonly MetricFamily[]): Promise<string> {
  const registry = new Registry()
  for (const { name, help, labels, samples } of families) {
    const gauge = new Gauge({ name, help, labelNames: labels, registers: [registry] })
    for (const sample of samples) gauge.labels(...sample.labels).set(sample.value)
  }
  return registry.metrics()
}

export const CONTENT_TYPE = Registry.PROMETHEUS_CONTENT_TYPE
