import { beforeAll, describe, expect, test } from 'vitest'
import { encryptor } from '../../../../src/codec/cipher.ts'
import { compressor, loadCodec } from '../../../../src/codec/registry.ts'
import { fetchBlocks } from '../../../../src/core/block/fetch.ts'
import { memoryStorage } from '../../../../src/storage/memory.ts'
import { putFile } from '../../../../src/storage/whole-file.ts'
import type { CompressType } from '../../../../src/util/compress-type.ts'
import { compressible, through } from '../../../support/builders/codec.ts'

const PLAIN = 40_000
const content = compressible(PLAIN, 'text', 1)
const { signal } = new AbortController()

beforeAll(async () => {
  for (const type of ['none', 'lz4', 'zst'] as const) await loadCodec(type)
})

/** Fetches the only super block of a repository file. */
async function fetchAll(
  stored: Buffer,
  type: CompressType,
  { plainBytes = PLAIN, cipherPass }: { plainBytes?: number; cipherPass?: string | undefined } = {},
): Promise<Buffer> {
  const storage = memoryStorage()
  await putFile(storage, 'backup/file', stored)
  const target = Buffer.alloc(plainBytes)
  const superBlock = { reference: 0, bundleId: 0, offset: 0, storedBytes: stored.length, plainBytes }
  const stretches = [{ start: 0, end: plainBytes, filePosition: 0 }]
  const range = {
    reference: 0,
    bundleId: 0,
    offset: 0,
    length: stored.length,
    superBlocks: [{ superBlock, stretches }],
  }
  await fetchBlocks(storage, range, {
    repoName: 'backup/file',
    compressType: type,
    cipherPass,
    write: (bytes, position) => target.set(bytes, position),
    signal,
  })
  return target
}

describe.each<CompressType>(['none', 'lz4', 'zst'])('a super block compressed with %s', (type) => {
  const stored = (cipherPass?: string) =>
    through(
      [compressor(type, 1, { raw: true }), ...(cipherPass === undefined ? [] : [encryptor(cipherPass, { raw: true })])],
      content,
    )

  test.each([undefined, 'secret'])('is decoded with passphrase %s', async (cipherPass) => {
    expect((await fetchAll(await stored(cipherPass), type, { cipherPass })).equals(content)).toBe(true)
  })

  test('is refused with its place when the block map expects fewer bytes', async () => {
    await expect(fetchAll(await stored(), type, { plainBytes: PLAIN - 1 })).rejects.toMatchObject({
      code: 'format',
      message: expect.stringMatching(
        /^unable to read blocks from 'memory:.*\/backup\/file' at 0 \(\d+ bytes\): a super block decodes to more than 39999 bytes, expected by the block map 39999$/,
      ) as string,
    })
  })

  test('is refused when the block map expects more bytes', async () => {
    await expect(fetchAll(await stored(), type, { plainBytes: PLAIN + 1 })).rejects.toMatchObject({
      code: 'format',
      message: expect.stringContaining('decodes to 40000 bytes, expected by the block map 40001') as string,
    })
  })

  test('is refused when its stored bytes are truncated', async () => {
    const truncated = (await stored()).subarray(0, -20)
    await expect(fetchAll(truncated, type)).rejects.toMatchObject({ code: 'format' })
  })
})

test('a super block is refused with crypto when the passphrase is wrong', async () => {
  // With a fixed salt, because one in 256 wrong keys gives a valid padding.
  const cipher = encryptor('right', { raw: true, salt: Buffer.alloc(8) })
  const stored = await through([compressor('zst', 1, { raw: true }), cipher], content)
  await expect(fetchAll(stored, 'zst', { cipherPass: 'wrong' })).rejects.toMatchObject({ code: 'crypto' })
})
