import type { InfoReport } from '../../core/info/report.ts'
import { asBytes, bytesToText, decodeUtf8 } from '../../util/byte-string.ts'
import { renderInfoJson } from './info-json.ts'
import { renderInfoText } from './info-text.ts'

/**
 * Hints why the repositories do not contain the stanza.
 *
 * @param stanzaHints where the configuration was searched, if it does not contain the stanza either
 */
export function infoHints({ notFound }: InfoReport, stanzaHints: readonly string[]): readonly string[] {
  if (notFound === undefined) return []
  const { stanza, present } = notFound
  const isNew = stanza !== undefined && stanzaHints.length === 0
  return [
    ...(isNew ? ['run stanza-create if this stanza is new'] : []),
    ...(present.length > 0 ? [`stanzas in the repositories: ${present.map(bytesToText).join(', ')}`] : []),
    ...stanzaHints,
  ]
}

/** The report of `info`, with its final newline: none after JSON, as in pgBackRest. */
export function renderInfo(report: InfoReport, output: 'text' | 'json'): string {
  return output === 'json' ? decodeUtf8(asBytes(renderInfoJson(report))) : renderInfoText(report)
}
