/** A backup that is kept, whatever the retention. */
export interface Pin {
  readonly label: string
  readonly reason?: string
  /** Seconds since the epoch; from then on the pin has no effect. Absent: no limit. */
  readonly until?: number
  /** When it was pinned, seconds since the epoch. */
  readonly since: number
}

export function isPinActive({ until }: Pin, nowSeconds: number): boolean {
  return until === undefined || nowSeconds < until
}

/** A label is pinned once: the new pin takes the place of an older one. Sorted by label. */
export function withPin(pins: readonly Pin[], pin: Pin): Pin[] {
  return [...withoutPin(pins, pin.label), pin].sort((a, b) => (a.label < b.label ? -1 : 1))
}

export function withoutPin(pins: readonly Pin[], label: string): Pin[] {
  return pins.filter((pin) => pin.label !== label)
}
