/** Which cluster: the 64-bit number and the version text (`9.6`, `15`) that a stanza is tied to. */
export interface ClusterIdentity {
  readonly systemId: bigint
  readonly version: string
}

export function isSameCluster(a: ClusterIdentity, b: ClusterIdentity): boolean {
  return a.systemId === b.systemId && a.version === b.version
}

/** For messages: `version 15, system identifier 7123...`. */
export function describeCluster(identity: ClusterIdentity): string {
  return `version ${identity.version}, system identifier ${identity.systemId}`
}
