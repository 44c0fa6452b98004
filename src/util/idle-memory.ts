const releases: (() => void)[] = []

/** Register memory that a module keeps for the next file. @param release drops what is not in use */
export function onIdle(release: () => void): void {
  releases.push(release)
}

/** Drop all of it. @see releaseMemory */
export function dropIdleMemory(): void {
  for (const release of releases) release()
}
