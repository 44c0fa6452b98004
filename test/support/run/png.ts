import { inflateSync } from 'node:zlib'

/**
 * The colours of a PNG file of Chromium (8 bits for each of red, green, blue and perhaps alpha), most frequent first.
 *
 * @returns number of pixels by `red,green,blue`
 */
export function colours(png: Buffer): Map<string, number> {
  const [width, height, depth, kind] = [png.readUInt32BE(16), png.readUInt32BE(20), png[24], png[25]]
  if (depth !== 8 || (kind !== 2 && kind !== 6)) throw new Error(`a PNG of depth ${depth} and type ${kind}`)
  const channels = kind === 2 ? 3 : 4
  const raw = inflateSync(imageData(png))
  const stride = width * channels
  let above: Buffer = Buffer.alloc(stride)
  const counts = new Map<number, number>()
  for (let row = 0; row < height; row++) {
    const at = row * (stride + 1)
    const line = unfiltered(raw[at]!, raw.subarray(at + 1, at + 1 + stride), above, channels)
    for (let x = 0; x < stride; x += channels) {
      const colour = line.readUIntBE(x, 3)
      counts.set(colour, (counts.get(colour) ?? 0) + 1)
    }
    above = line
  }
  return new Map(
    [...counts]
      .sort((a, b) => b[1] - a[1])
      .map(([colour, count]) => [[colour >> 16, (colour >> 8) & 255, colour & 255].join(','), count]),
  )
}

function imageData(png: Buffer): Buffer {
  const parts: Buffer[] = []
  for (let at = 8; at < png.length;) {
    const length = png.readUInt32BE(at)
    if (png.toString('latin1', at + 4, at + 8) === 'IDAT') parts.push(png.subarray(at + 8, at + 8 + length))
    at += 12 + length
  }
  return Buffer.concat(parts)
}

/** Reverses the filter of a line: none, sub, up, average or Paeth. */
function unfiltered(filter: number, line: Buffer, above: Buffer, channels: number): Buffer {
  const out = Buffer.from(line)
  for (let x = 0; x < out.length; x++) {
    const left = x < channels ? 0 : out[x - channels]!
    const corner = x < channels ? 0 : above[x - channels]!
    const up = above[x]!
    const guess = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter]!
    out[x] = (line[x]! + guess) & 255
  }
  return out
}

function paeth(left: number, up: number, corner: number): number {
  const estimate = left + up - corner
  const [a, b, c] = [Math.abs(estimate - left), Math.abs(estimate - up), Math.abs(estimate - corner)]
  return a <= b && a <= c ? left : b <= c ? up : corner
}
