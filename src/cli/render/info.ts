import type { InfoReport } from '../../core/info/report.ts'
import { decodeUtf8 } from '../../util/byte-string.ts'
import { renderInfoJson } from './info-json.ts'
import { renderInfoText } from './info-text.ts'

/** The report of `info`, with its final newline: none after JSON, as in pgBackRest. */
export function renderInfo(report: InfoReport, output: 'text' | 'json'): string {
  return output === 'json' ? decodeUtf8(renderInfoJson(report)) : renderInfoText(report)
}
