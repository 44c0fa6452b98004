import fc from 'fast-check'
import { expect, test } from 'vitest'
import { HookOutput } from '../../../../src/core/hooks/hook-output.ts'

function kept(chunks: readonly string[], mostBytes = 40): string {
  const output = new HookOutput(mostBytes)
  for (const chunk of chunks) output.add(Buffer.from(chunk))
  return output.text()
}

test('short output is kept whole, in any chunks, without its last newline', () => {
  expect(kept(['one\ntw', '', 'o\n\n', 'three', '\n'])).toBe('one\ntwo\n\nthree')
  expect(kept([])).toBe('')
})

test('of longer output the first and last whole lines are kept', () => {
  const lines = Array.from({ length: 100 }, (_, i) => `line ${i}\n`)
  expect(kept(lines)).toBe('line 0\nline 1\n... 760 bytes left out ...\nline 98\nline 99')
})

test('of one line that is too long nothing is kept, because a secret in it could be cut', () => {
  expect(kept(['x'.repeat(1000)])).toBe('... 1000 bytes left out ...')
  expect(kept(['a\n', 'secret'.repeat(100), '\nz'])).toBe('a\n... 601 bytes left out ...\nz')
})

test('each kept line is a whole line of the output, and no size or chunk matters', () => {
  const words = fc.stringMatching(/^[a-z]{0,12}$/)
  fc.assert(
    fc.property(fc.array(words), fc.array(fc.nat(9)), (lines, cuts) => {
      const text = lines.join('\n')
      const chunks: string[] = []
      let at = 0
      for (const cut of cuts) chunks.push(text.slice(at, (at += cut)))
      const shown = kept([...chunks, text.slice(at)])
      for (const line of shown.split('\n')) {
        expect([...lines, ''].includes(line) || /^\.\.\. \d+ bytes left out \.\.\.$/.test(line)).toBe(true)
      }
    }),
  )
})
