/** Compression of a stored file, and its file name extension. The formats and the codecs use this table. */
export type CompressType = 'none' | 'gz' | 'lz4' | 'zst' | 'bz2'

export const COMPRESS_EXTENSIONS: Record<CompressType, string> = {
  none: '',
  gz: '.gz',
  lz4: '.lz4',
  zst: '.zst',
  bz2: '.bz2',
}

export const COMPRESS_TYPES = Object.keys(COMPRESS_EXTENSIONS) as readonly CompressType[]

export function isCompressType(text: string): text is CompressType {
  return Object.hasOwn(COMPRESS_EXTENSIONS, text)
}

/** How a file is compressed when it is written. */
export interface Compression {
  readonly type: CompressType
  readonly level: number
}
