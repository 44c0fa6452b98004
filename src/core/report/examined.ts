import { PgtsError } from '../../util/error.ts'
import { isObject } from '../../util/is-object.ts'
import type { Finding } from '../doctor/rule.ts'

/** What doctor found in a stanza. */
export interface Examined {
  readonly stanza: string
  /** Milliseconds since 1970. */
  readonly timeMs: number
  readonly findings: readonly ShownFinding[]
}

export type ShownFinding = Pick<Finding, 'rule' | 'severity' | 'message' | 'why' | 'next' | 'repoKey'>

/**
 * Reads the output of `doctor --output=json`.
 *
 * @param file for the error message
 * @throws PgtsError json-format if it is something else
 */
export function parseExamined(text: string, file: string): Examined {
  const value = parsed(text)
  if (isExamined(value)) return value
  throw new PgtsError('json-format', `'${file}' is not the output of doctor`, {
    hints: ['create it by: pgts --stanza=NAME doctor --output=json > FILE'],
  })
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function isExamined(value: unknown): value is Examined {
  if (!isObject(value)) return false
  const { stanza, timeMs, findings } = value
  return (
    typeof stanza === 'string' && Number.isFinite(timeMs) && Array.isArray(findings) && findings.every(isShownFinding)
  )
}

function isShownFinding(value: unknown): boolean {
  if (!isObject(value)) return false
  const { rule, severity, message, why, next, repoKey } = value
  return (
    [rule, severity, message, why].every((text) => typeof text === 'string') &&
    Array.isArray(next) &&
    next.every((line) => typeof line === 'string') &&
    (repoKey === undefined || typeof repoKey === 'number')
  )
}
