import type { InfoReport } from '../../core/info/report.ts'
import { bytesToText } from '../../util/byte-string.ts'
import { renderInfoJson } from './info-json.ts'
import { renderInfoText } from './info-text.ts'

/** What `info` prints, the last newline included: none after JSON, as in pgBackRest. */
export function renderInfo(report: InfoReport, output: 'text' | 'json'): string {
  return bytesToText(output === 'json' ? renderInfoJson(report) : renderInfoText(report))
}
