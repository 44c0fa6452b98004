import { formatBackupLabel } from '../../format/backup-label.ts'

const SECONDS_PER_DAY = 86_400

/**
 * Retention by age of the manifests in backup.history. A label contains the time of its backup, and a diff sorts after
 * its full, so one comparison with the label of a full at the limit decides for whole sets (repository-format 8.3).
 */
export class HistoryRetention {
  /** A label, in local time. */
  readonly limit: string

  /** @param days 0 keeps only the manifests of existing backups */
  constructor(days: number, nowSeconds: number) {
    this.limit = formatBackupLabel('full', nowSeconds - days * SECONDS_PER_DAY)
  }

  /** True if the whole directory of a year is older than the limit. */
  isYearExpired(year: string): boolean {
    return year < this.limit.slice(0, 4)
  }

  /** True if the directory of a year contains the limit. */
  yearContainsLimit(year: string): boolean {
    return year === this.limit.slice(0, 4)
  }

  isManifestExpired(label: string, current: ReadonlySet<string>): boolean {
    return label < this.limit && !current.has(label)
  }
}
