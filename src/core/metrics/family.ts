/** A metric of Prometheus with all its series. All are gauges: they are the state at the time of the collection. */
export interface MetricFamily {
  readonly name: string
  readonly help: string
  /** Names of the labels, in the order of the values. */
  readonly labels: readonly string[]
  readonly samples: readonly Sample[]
}

export interface Sample {
  /** Text, not byte strings. */
  readonly labels: readonly string[]
  readonly value: number
}

/** One series without labels. */
export function single(name: string, help: string, value: number): MetricFamily {
  return { name, help, labels: [], samples: [{ labels: [], value }] }
}
