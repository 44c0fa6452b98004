/** PostgreSQL's page checksum in plain JavaScript, to measure the WebAssembly against. @see docs/format/manifest.md */
const BASES = Uint32Array.from([
  0x5b1f36e9, 0xb8525960, 0x02ab50aa, 0x1de66d2a, 0x79ff467a, 0x9bb9f8a3, 0x217e7cd2, 0x83e13d2c, 0xf8d4474f,
  0xe39eb970, 0x42c6ae16, 0x993216fa, 0x7b093b5d, 0x98daff3c, 0xf718902a, 0x0b1c9cdb, 0xe58f764b, 0x187636bc,
  0x5d7b3bb1, 0xe73de7de, 0x92bec979, 0xcca6c0b2, 0x304a0979, 0x85aa43d4, 0x783125bb, 0x6ca8eaa2, 0xe407eac6,
  0x4b5cfc3e, 0x9fbf8c76, 0x15ca20be, 0xf2ca9fd3, 0x959bd756,
])
const PRIME = 16777619

export function pageChecksumPlain(page: Uint8Array, block: number): number {
  const words = new Uint32Array(Uint8Array.from(page).buffer)
  words[2]! &= 0xffff0000
  const lanes = BASES.slice()
  const mix = (lane: number, value: number) => {
    const mixed = lanes[lane]! ^ value
    lanes[lane] = Math.imul(mixed, PRIME) ^ (mixed >>> 17)
  }
  for (let word = 0; word < words.length; word += 32)
    for (let lane = 0; lane < 32; lane++) mix(lane, words[word + lane]!)
  for (let round = 0; round < 2; round++) for (let lane = 0; lane < 32; lane++) mix(lane, 0)
  const all = lanes.reduce((sum, lane) => sum ^ lane, 0) ^ block
  return ((all >>> 0) % 65535) + 1
}
