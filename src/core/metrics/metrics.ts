import { pgtsVersion, versionText } from '../../util/version.ts'
import type { ArchiveStatus } from '../archive/status/archive-status.ts'
import type { InfoReport } from '../info/report.ts'
import { archivingFamilies } from './archiving-families.ts'
import { backupFamilies } from './backup-families.ts'
import { type Drilled, drillFamilies } from './drill-families.ts'
import { type MetricFamily, single } from './family.ts'
import { stanzaFamilies } from './stanza-families.ts'
import { type Verified, verifyFamilies } from './verify-families.ts'
import { windowFamilies } from './window-families.ts'

export interface MetricsInput {
  /** Undefined: it could not be collected. */
  readonly info: InfoReport | undefined
  /** The requested stanza; '' for all. */
  readonly stanza: string
  /** Archiving on this host, if it is the host of the server. */
  readonly archiving?: ArchiveStatus
  readonly verified: readonly Verified[]
  readonly drilled: readonly Drilled[]
  readonly walLabels: boolean
  readonly nowSeconds: number
}

/** All metrics. Those named `pgbackrest_` are the ones of pgbackrest_exporter 0.23; those named `pgts_` are additional. */
export function metrics({
  info,
  stanza,
  archiving,
  verified,
  drilled,
  walLabels,
  nowSeconds,
}: MetricsInput): MetricFamily[] {
  return [
    {
      name: 'pgbackrest_exporter_status',
      help: 'Could the state of the repositories be collected.',
      labels: ['stanza'],
      samples: [{ labels: [stanza === '' ? 'all-stanzas' : stanza], value: Number(info !== undefined) }],
    },
    {
      name: 'pgbackrest_exporter_build_info',
      help: 'The program that collects these metrics.',
      labels: ['branch', 'goarch', 'goos', 'goversion', 'revision', 'tags', 'version'],
      samples: [
        {
          labels: ['', process.arch, process.platform, `node ${process.versions.node}`, '', 'pgts', pgtsVersion],
          value: 1,
        },
      ],
    },
    single(
      'pgbackrest_version_info',
      'Release of pgBackRest that pgts implements, 2060000 for 2.60.0.',
      Number(versionText('num', 'pgbackrest')),
    ),
    ...(info === undefined
      ? []
      : [
          ...stanzaFamilies(info.stanzas, walLabels),
          ...backupFamilies(info.stanzas, nowSeconds),
          ...windowFamilies(info.stanzas),
        ]),
    ...(archiving === undefined ? [] : archivingFamilies(archiving)),
    ...verifyFamilies(verified, nowSeconds),
    ...drillFamilies(drilled, nowSeconds),
  ]
}
