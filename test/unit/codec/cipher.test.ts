import { spawnSync } from 'node:child_process'
import { setImmediate } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { decrypt, decryptor, deriveKey, encryptingSink, encryptor } from '../../../src/codec/cipher.ts'
import { compressible, through } from '../../support/builders/codec.ts'

const PASS = 'correct horse battery'
const SALT = Buffer.from('0001020304050607', 'hex')

test('key and initialisation vector are those of EVP_BytesToKey', () => {
  const { key, iv } = deriveKey(PASS, SALT)
  expect(key.toString('hex')).toBe('2c9c17c27e7ac77cbeac3929214ba07ed57ee8a0a3abe17d9022cee284798ae3')
  expect(iv.toString('hex')).toBe('2ae8bbc8c465fec90c6d3be3cac4fbcd')
})

test.each([0, 1, 15, 16, 17, 70_000])(
  'decrypting returns %i bytes, and the ciphertext has the size of the format',
  async (length) => {
    const input = compressible(length, 'random', 1)
    for (const raw of [false, true]) {
      const stored = await through(encryptor(PASS, { raw }), input, 1000)
      expect(stored.length).toBe((raw ? 8 : 16) + 16 * (Math.floor(length / 16) + 1))
      for (const chunk of [1, 7, 4096])
        if (length < 100 || chunk > 1000) expect(await through(decryptor(PASS, { raw }), stored, chunk)).toEqual(input)
    }
  },
)

test('two encryptions of the same bytes differ', async () => {
  const [a, b] = [await through(encryptor(PASS), SALT), await through(encryptor(PASS), SALT)]
  expect(a.equals(b)).toBe(false)
})

test.skipIf(spawnSync('openssl', ['version']).error !== undefined)(
  'openssl decrypts what pgts encrypts, and the reverse',
  async () => {
    const input = compressible(5000, 'text', 1)
    const openssl = (args: string[], stdin: Buffer) =>
      spawnSync('openssl', ['enc', ...args, '-aes-256-cbc', '-md', 'sha1', '-pass', `pass:${PASS}`], { input: stdin })
        .stdout
    expect(openssl(['-d'], await through(encryptor(PASS), input))).toEqual(input)
    expect(await through(decryptor(PASS), openssl(['-e', '-salt'], input))).toEqual(input)
  },
)

test('decrypting invalid input reports an error', async () => {
  const stored = await through(encryptor(PASS, { salt: SALT }), Buffer.from('secret'))
  await expect(through(decryptor('wrong'), stored)).rejects.toMatchObject({ code: 'crypto' })
  await expect(through(decryptor(PASS), Buffer.from('[backup]\nx=1\n\n\n\n\n'))).rejects.toThrow('does not begin with')
  for (let cut = 0; cut < stored.length; cut++)
    await expect(through(decryptor(PASS), stored.subarray(0, cut))).rejects.toMatchObject({ code: 'crypto' })
})

test('a small file is encrypted into one piece', () => {
  const stage = encryptor(PASS)
  expect([...stage.push(Buffer.alloc(20_000))]).toEqual([])
  const [only, ...others] = [...stage.finish()]
  expect(only).toHaveLength(16 + 20_016)
  expect(others).toEqual([])
})

test.each([1, 200_000])(
  'a sink that waits gets all bytes in order, from pieces of up to %i bytes',
  async (chunkBytes) => {
    const input = compressible(chunkBytes === 1 ? 5000 : 1_000_000, 'random', 2)
    const written: Buffer[] = []
    const sink = encryptingSink(
      {
        async write(chunk) {
          await setImmediate()
          written.push(Buffer.from(chunk))
        },
      },
      PASS,
    )
    for (let at = 0; at < input.length; at += chunkBytes) await sink.write(input.subarray(at, at + chunkBytes))
    await sink.finish()
    expect(decrypt(Buffer.concat(written), PASS).equals(input)).toBe(true)
  },
)

test('large files leave no memory to garbage collection', async () => {
  const input = Buffer.alloc(8 * 1024 * 1024)
  const before = process.memoryUsage().arrayBuffers
  let highest = 0
  const stage = encryptor(PASS)
  for (const chunks of [stage.push(input), stage.finish()]) {
    for (const chunk of chunks) {
      expect(chunk.length).toBeGreaterThan(0)
      highest = Math.max(highest, process.memoryUsage().arrayBuffers - before)
    }
  }
  expect(highest).toBeLessThan(2 * 1024 * 1024)
})
