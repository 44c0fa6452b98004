/** A backup that is kept regardless of the retention. */
export interface Pin {
  readonly label: string
  readonly reason?: string
  /** Seconds since the epoch; the pin has no effect from then on. Absent: no limit. */
  readonly until?: number
  /** When it was pinned, seconds since the epoch. */
  readonly since: number
}

export function isPinActive({ until }: Pin, nowSeconds: number): boolean {
  return until === undefined || nowSeconds < until
}

/** Adds a pin; it replaces an older one of the same label. Sorted by label. */
export function withPin(pins: readonly Pin[], pin: Pin): Pin[] {
  return [...withoutPin(pins, pin.label), pin].sort((a, b) => (a.label < b.label ? -1 : 1))
}

export function withoutPin(pins: readonly Pin[], label: string): Pin[] {
  return pins.filter((pin) => pin.label !== label)
}
