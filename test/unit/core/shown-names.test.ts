import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createDestination } from '../../../src/core/archive/get/destination.ts'
import { loadPins, pinsName } from '../../../src/core/expire/pins-store.ts'
import { repositoryName } from '../../../src/core/repo/name.ts'
import { memoryStorage } from '../../../src/storage/memory.ts'
import { putFile } from '../../../src/storage/whole-file.ts'
import { bytes, textToBytes } from '../../../src/util/byte-string.ts'
import { repositoryWith } from '../../support/builders/repository.ts'

/** Bytes that are not ASCII, as text and, of a byte that is not UTF-8, as it is shown. */
const NAME = 'dü-\udcff'
const SHOWN = 'dü-\\xff'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'pgts-shown-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const messageOf = (action: Promise<unknown>) =>
  action.then(
    () => 'no error',
    (error: Error) => error.message,
  )

test('archive-get shows the bytes of a destination in a directory that does not exist', async () => {
  const path = textToBytes(`${dir}/${NAME}/RECOVERYXLOG`)
  expect(await messageOf(createDestination(path))).toBe(`the directory of ${dir}/${SHOWN}/RECOVERYXLOG does not exist`)
})

test('archive-get shows the bytes of a temporary file that cannot be created', async () => {
  writeFileSync(join(dir, 'file'), '')
  const path = textToBytes(`${dir}/file/${NAME}`)
  expect(await messageOf(createDestination(path))).toMatch(
    `cannot create ${dir}/file/${SHOWN}.${process.pid}.pgts.tmp: ENOTDIR`,
  )
})

test('archive-get shows the bytes of a destination that cannot take the file', async () => {
  const path = textToBytes(`${dir}/${NAME}`)
  const destination = await createDestination(path, { temporary: bytes`${path}.new` })
  rmSync(Buffer.from(bytes`${path}.new`, 'latin1'))
  expect(await messageOf(Promise.resolve(destination.commit()))).toContain(`${dir}/${SHOWN}.new`)
  await destination[Symbol.asyncDispose]()
})

test('repo commands show the bytes of a path that is not valid, and of the path of the repository', () => {
  const root = textToBytes(`/${NAME}`)
  expect(() => repositoryName(textToBytes(`${NAME}/../x`), root)).toThrow(
    `${SHOWN}/../x is not a valid path: it contains an empty part, '.' or '..'`,
  )
  expect(() => repositoryName(textToBytes('/other/ä'), root)).toThrow(
    expect.objectContaining({
      message: '/other/ä is not in the repository',
      hints: [`an absolute path begins with /${SHOWN}/; a relative path is relative to it`],
    }),
  )
})

test('expire shows the bytes of a file of pins that is not valid', async () => {
  const storage = memoryStorage('shown')
  const stanza = textToBytes('stänza')
  await putFile(storage, pinsName(stanza), Buffer.from('no JSON'))
  expect(await messageOf(loadPins(repositoryWith(storage), stanza))).toBe(
    'memory:shown/pgts/stänza/pins.json is not a valid file of pins',
  )
})
