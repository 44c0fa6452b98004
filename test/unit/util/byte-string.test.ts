import fc from 'fast-check'
import { isUtf8 } from 'node:buffer'
import { describe, expect, test } from 'vitest'
import { formatShortError } from '../../../src/cli/exit.ts'
import { formatLine } from '../../../src/cli/log-line.ts'
import { backupText } from '../../../src/cli/render/info-backup-text.ts'
import { renderManifest } from '../../../src/cli/render/manifest.ts'
import { renderRepoLs } from '../../../src/cli/render/repo-ls.ts'
import {
  bytesToLines,
  bytesToText,
  decodeText,
  decodeUtf8,
  hasStrayBytes,
  printableJson,
  printableLines,
  textPath,
  textToBytes,
} from '../../../src/util/byte-string.ts'
import { PgtsError } from '../../../src/util/error.ts'
import { aFile, aManifest } from '../../support/builders/manifest.ts'

/** A name with control characters that clear the screen, write lines and reverse the text. */
const HOSTILE = `a\x1b[2J\nERROR: fake\r${textToBytes('\u202e\u0085ä')}\xff\x7f`
const SHOWN = 'a\\x1b[2J\\nERROR: fake\\r\\u202e\\u0085ä\\xff\\x7f'
const CONTROL = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/

/** No lone surrogates: as String.prototype.isWellFormed, for older libraries of types. */
function isWellFormed(text: string): boolean {
  return !/[\ud800-\udfff]/u.test(text)
}

async function joined(pieces: AsyncIterable<string>): Promise<string> {
  let text = ''
  for await (const piece of pieces) text += piece
  return text
}

describe('a byte string shown as text', () => {
  test.each([
    ['pg_data/base/1', 'pg_data/base/1'],
    [textToBytes('dätén €😀'), 'dätén €😀'],
    [HOSTILE, SHOWN],
    ['\xed\xa0\x80', '\\xed\\xa0\\x80'],
    ['\xc0\xaf\xf5', '\\xc0\\xaf\\xf5'],
    ['\xe2\x82', '\\xe2\\x82'],
    ['a\tb', 'a\\tb'],
    [textToBytes('\u2066a\u2028\ufeff'), '\\u2066a\\u2028\\ufeff'],
  ])('%j is shown as %j', (bytes, text) => {
    expect(bytesToText(bytes)).toBe(text)
  })

  test('keeps only line ends and tabs in text of several lines', () => {
    expect(bytesToLines('a\n\tb\x1b\xff')).toBe('a\n\tb\\x1b\\xff')
    expect(printableLines(`${decodeUtf8('f\xff')} 😀`)).toBe('f\\xff 😀')
    expect(printableLines('a\nä\u009b31m\u202e')).toBe('a\nä\\u009b31m\\u202e')
  })

  test('keeps bytes that are not UTF-8 and shows them as escapes', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        const text = decodeText(bytes)
        expect(Buffer.from(textToBytes(text), 'latin1')).toEqual(Buffer.from(bytes))
        expect(decodeUtf8(textToBytes(text))).toBe(text)
        expect(isWellFormed(text)).toBe(isUtf8(bytes))
        expect(hasStrayBytes(text)).toBe(!isUtf8(bytes))
      }),
      { numRuns: 1000 },
    )
    expect(decodeText(Buffer.from('gr\xfc\xdfe \xe2\x82\xac', 'latin1'))).toBe('gr\udcfc\udcdfe €')
    expect(printableLines(decodeText(Buffer.from('d\xe4ten', 'latin1')))).toBe('d\\xe4ten')
    expect(printableLines('😀')).toBe('😀')
    expect(textPath('/tmp/ä')).toBe('/tmp/ä')
    expect(textPath('/tmp/\udce4')).toEqual(Buffer.from('/tmp/\xe4', 'latin1'))
  })

  test('keeps every character in output for programs', () => {
    expect(decodeUtf8(textToBytes('a\n\u202eä'))).toBe('a\n\u202eä')
  })
})

describe('control characters are escaped on terminal and in log files', () => {
  const style = { timestamp: false, processMax: 1, dryRun: false }

  test('in a message that contains a raw name', () => {
    const line = formatLine({ level: 'warn', message: `name '${HOSTILE}'`, process: 0, timeMs: 0 }, style)
    expect(line).not.toMatch(CONTROL)
    const error = formatShortError(new PgtsError('format', `name '\x1b]0;title\x07'`, { hints: ['see \x9b1m'] }))
    expect(error).toBe("ERROR: [029]: name '\\x1b]0;title\\x07'\n       HINT: see \\u009b1m\n")
  })

  test('in repo-ls and manifest, where a name cannot begin a second line', async () => {
    async function* files() {
      yield { name: HOSTILE, kind: 'file' as const }
    }
    expect(await joined(renderRepoLs(files() as never, 'text'))).toBe(`${SHOWN}\n`)
    const { label, references, type, files: listed } = aManifest([aFile(`pg_data/${HOSTILE}`)])
    const report = { label, references, type, timestampStart: 0, timestampCopyStart: 0, timestampStop: 0 }
    const shown = {
      ...report,
      bundle: false,
      bundleRaw: false,
      block: false,
      files: [...listed].map((file) => ({ file })),
    }
    expect(await joined(renderManifest(shown, 'text'))).toContain(`\n  - pg_data/${SHOWN}\n      size:`)
    expect(JSON.parse(printableJson(await joined(renderManifest(shown, 'json'))))).toMatchObject({
      fileList: [{ name: `pg_data/${decodeUtf8(HOSTILE)}` }],
    })
  })

  test('in annotations, databases, links and tablespaces of info', () => {
    const text = backupText({
      repoKey: 1,
      type: 'full',
      label: '20260102-030405F',
      archiveStart: null,
      archiveStop: null,
      sizeBytes: 1,
      sizeDeltaBytes: 1,
      repoSizeBytes: 1,
      repoSizeDeltaBytes: 1,
      timestampStart: 0,
      timestampStop: 0,
      references: null,
      error: true,
      annotations: new Map([[HOSTILE, HOSTILE]]),
      pin: { reason: HOSTILE, since: 0 },
      details: {
        databases: [{ name: HOSTILE, oid: 1 }],
        links: [{ name: HOSTILE, destination: HOSTILE }],
        tablespaces: [{ name: HOSTILE, oid: 1, destination: HOSTILE }],
        errorFiles: [HOSTILE],
      },
    } as never)
    expect(text).not.toMatch(CONTROL)
    expect(text.split('\n').filter((line) => line.includes(SHOWN))).toHaveLength(6)
    expect(text).not.toMatch(/^\s*ERROR/m)
  })
})
