/*
 * The kernels of pgts: LZ4 frames, bzip2, XXH3 and PostgreSQL page checksums, compiled to one WebAssembly module by
 * scripts/build-kernels.sh. Every user instantiates the module for itself, so an instance holds one codec's state,
 * and its memory never grows once its buffers are open. No function here waits, allocates for ever or calls out.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <wasm_simd128.h>
#include "vendor/bzip2/bzlib.h"
#define LZ4F_STATIC_LINKING_ONLY
#include "vendor/lz4/lz4frame.h"
#define XXH_INLINE_ALL
#define XXH_NO_STREAM
#include "vendor/xxhash/xxhash.h"

#define EXPORT(name) __attribute__((export_name(#name))) name

/* ---- memory: blocks are given out in a row; freeing the last one takes it back, other blocks stay until the end ---- */

extern unsigned char __heap_base;
static uintptr_t heap_top, last_block;

void *malloc(size_t bytes) {
  if (heap_top == 0) heap_top = (uintptr_t)&__heap_base;
  uintptr_t block = (heap_top + 15) & ~(uintptr_t)15;
  if (bytes > UINT32_MAX - block - 65536) return NULL;
  uintptr_t end = block + bytes, have = (uintptr_t)__builtin_wasm_memory_size(0) << 16;
  if (end > have && __builtin_wasm_memory_grow(0, (end - have + 65535) >> 16) == (size_t)-1) return NULL;
  heap_top = end;
  last_block = block;
  return (void *)block;
}

void *calloc(size_t count, size_t bytes) {
  void *block = malloc(count * bytes);
  return block == NULL ? NULL : memset(block, 0, count * bytes);
}

void free(void *block) {
  if (block != NULL && (uintptr_t)block == last_block) heap_top = last_block;
}

/* With -mbulk-memory the builtins are instructions of the machine, not calls of the functions that they define here. */
void *memcpy(void *to, const void *from, size_t bytes) { return __builtin_memmove(to, from, bytes); }
void *memmove(void *to, const void *from, size_t bytes) { return __builtin_memmove(to, from, bytes); }
void *memset(void *to, int value, size_t bytes) { return __builtin_memset(to, value, bytes); }
int memcmp(const void *a, const void *b, size_t bytes) {
  const unsigned char *x = a, *y = b;
  for (; bytes > 0; bytes--, x++, y++)
    if (*x != *y) return *x - *y;
  return 0;
}

/* Where the caller puts bytes in, and finds bytes. */
static unsigned char *input, *output;
static size_t output_capacity;

unsigned char *EXPORT(input_buffer)(void) { return input; }
unsigned char *EXPORT(output_buffer)(void) { return output; }

/* A buffer for the functions that only read. Returns it, or NULL without memory. */
unsigned char *EXPORT(open_input)(size_t bytes) { return input = malloc(bytes); }

/* ---- LZ4 frames. Functions that can fail return a size, or an LZ4F error code (see lz4_error). ---- */

static LZ4F_cctx *compress_ctx;
static LZ4F_dctx *decompress_ctx;
static LZ4F_preferences_t preferences;
static size_t consumed;

/* Name of an error, or NULL when the size is not an error. */
const char *EXPORT(lz4_error)(size_t code) { return LZ4F_isError(code) ? LZ4F_getErrorName(code) : NULL; }

static size_t out_of_memory(void) { return (size_t)-LZ4F_ERROR_allocation_failed; }

static void choose_blocks(int large) {
  preferences.frameInfo.blockSizeID = large ? LZ4F_max1MB : LZ4F_max64KB;
  preferences.frameInfo.blockMode = large ? LZ4F_blockIndependent : LZ4F_blockLinked;
}

/* Opens the instance for compression: input_bytes is the most that one lz4_compress takes. */
size_t EXPORT(lz4_open_compressor)(int level, int content_checksum, size_t input_bytes) {
  preferences.compressionLevel = level;
  preferences.frameInfo.contentChecksumFlag = content_checksum ? LZ4F_contentChecksumEnabled : LZ4F_noContentChecksum;
  choose_blocks(1);
  output_capacity = LZ4F_compressBound(input_bytes, &preferences) + LZ4F_HEADER_SIZE_MAX;
  input = malloc(input_bytes);
  output = malloc(output_capacity);
  if (input == NULL || output == NULL) return out_of_memory();
  return LZ4F_createCompressionContext(&compress_ctx, LZ4F_VERSION);
}

/*
 * Begins a frame, and forgets the one before, finished or not. Bytes of header in the output buffer. Linked blocks of
 * 64 KiB suit small content; independent ones of 1 MiB are faster where there is more.
 */
size_t EXPORT(lz4_begin)(int large) {
  choose_blocks(large);
  return LZ4F_compressBegin(compress_ctx, output, output_capacity, &preferences);
}

size_t EXPORT(lz4_compress)(size_t bytes) {
  return LZ4F_compressUpdate(compress_ctx, output, output_capacity, input, bytes, NULL);
}

size_t EXPORT(lz4_end)(void) { return LZ4F_compressEnd(compress_ctx, output, output_capacity, NULL); }

size_t EXPORT(lz4_open_decompressor)(size_t input_bytes, size_t output_bytes) {
  input = malloc(input_bytes);
  output = malloc(output_capacity = output_bytes);
  if (input == NULL || output == NULL) return out_of_memory();
  return LZ4F_createDecompressionContext(&decompress_ctx, LZ4F_VERSION);
}

void EXPORT(lz4_reset_decompressor)(void) { LZ4F_resetDecompressionContext(decompress_ctx); }

/* Bytes that the last lz4_decompress took from the input buffer. */
size_t EXPORT(lz4_consumed)(void) { return consumed; }

static size_t expected;

/* What the frame still needs after the last lz4_decompress: 0 exactly at the end of a frame. */
size_t EXPORT(lz4_expected)(void) { return expected; }

/* Takes input from offset on, gives bytes in the output buffer: their number, or an error. */
size_t EXPORT(lz4_decompress)(size_t offset, size_t bytes) {
  size_t produced = output_capacity;
  consumed = bytes;
  expected = LZ4F_decompress(decompress_ctx, output, &produced, input + offset, &consumed, NULL);
  return LZ4F_isError(expected) ? expected : produced;
}

/* ---- bzip2. Functions return the library's code (negative: an error) and leave two counts. ---- */

static bz_stream bz;
static size_t produced;
static uintptr_t heap_mark;

/* An assertion inside the library: stop here, which the caller sees as a trap. */
void bz_internal_error(int code) {
  (void)code;
  __builtin_trap();
}

size_t EXPORT(bz2_consumed)(void) { return consumed; }
size_t EXPORT(bz2_produced)(void) { return produced; }

/* Buffers for either direction. 0 without memory. */
int EXPORT(bz2_open)(size_t input_bytes, size_t output_bytes) {
  input = malloc(input_bytes);
  output = malloc(output_capacity = output_bytes);
  heap_mark = heap_top;
  return input != NULL && output != NULL;
}

/* Begins a stream, and forgets the one before: all the library's memory lies above the mark. Level 0 decompresses. */
int EXPORT(bz2_begin)(int level) {
  heap_top = heap_mark;
  memset(&bz, 0, sizeof bz);
  return level == 0 ? BZ2_bzDecompressInit(&bz, 0, 0) : BZ2_bzCompressInit(&bz, level, 0, 0);
}

static int bz2_step(size_t offset, size_t bytes, int (*step)(bz_stream *, int), int action) {
  bz.next_in = (char *)input + offset;
  bz.avail_in = bytes;
  bz.next_out = (char *)output;
  bz.avail_out = output_capacity;
  int code = step(&bz, action);
  consumed = bytes - bz.avail_in;
  produced = output_capacity - bz.avail_out;
  return code;
}

static int decompress_step(bz_stream *stream, int action) {
  (void)action;
  return BZ2_bzDecompress(stream);
}

int EXPORT(bz2_compress)(size_t offset, size_t bytes, int finish) {
  return bz2_step(offset, bytes, BZ2_bzCompress, finish ? BZ_FINISH : BZ_RUN);
}

int EXPORT(bz2_decompress)(size_t offset, size_t bytes) { return bz2_step(offset, bytes, decompress_step, 0); }

/* ---- XXH3, 128 bits, seed 0: the canonical (big-endian) digest of the input buffer, at the returned address ---- */

static XXH128_canonical_t canonical;

/*
 * Four vectors of two lanes. One step: acc += swapped data + (low half of data ^ secret) * (its high half). Two vectors at a
 * time, because a multiplication of wasm takes four adjacent 32-bit numbers from two vectors.
 */
#define STEP(low, high, at)                                                                                            \
  do {                                                                                                                 \
    v128_t data0 = wasm_v128_load(input + (at)), data1 = wasm_v128_load(input + (at) + 16);                            \
    v128_t key0 = wasm_v128_xor(data0, wasm_v128_load(secret + (at)));                                                 \
    v128_t key1 = wasm_v128_xor(data1, wasm_v128_load(secret + (at) + 16));                                            \
    v128_t halves0 = wasm_i32x4_shuffle(key0, key1, 0, 2, 4, 6), halves1 = wasm_i32x4_shuffle(key0, key1, 1, 3, 5, 7); \
    low = wasm_i64x2_add(low, wasm_i64x2_shuffle(data0, data0, 1, 0));                                                 \
    high = wasm_i64x2_add(high, wasm_i64x2_shuffle(data1, data1, 1, 0));                                               \
    low = wasm_i64x2_add(low, wasm_u64x2_extmul_low_u32x4(halves0, halves1));                                          \
    high = wasm_i64x2_add(high, wasm_u64x2_extmul_high_u32x4(halves0, halves1));                                       \
  } while (0)

static inline __attribute__((always_inline)) void accumulate(
  uint64_t *acc, const uint8_t *input, const uint8_t *secret, size_t stripes
) {
  v128_t a = wasm_v128_load(acc), b = wasm_v128_load(acc + 2), c = wasm_v128_load(acc + 4), d = wasm_v128_load(acc + 6);
  for (; stripes > 0; stripes--, input += XXH_STRIPE_LEN, secret += XXH_SECRET_CONSUME_RATE) {
    STEP(a, b, 0);
    STEP(c, d, 32);
  }
  wasm_v128_store(acc, a), wasm_v128_store(acc + 2, b), wasm_v128_store(acc + 4, c), wasm_v128_store(acc + 6, d);
}

static XXH128_hash_t hash_long(const void *bytes, size_t length, XXH64_hash_t seed, const void *secret, size_t size) {
  (void)seed;
  return XXH3_hashLong_128b_internal(bytes, length, secret, size, accumulate, XXH3_scrambleAcc_scalar);
}

static XXH128_hash_t xxh3(const void *bytes, size_t length) {
  return XXH3_128bits_internal(bytes, length, 0, XXH3_kSecret, sizeof(XXH3_kSecret), hash_long);
}

const unsigned char *EXPORT(xxh3_128)(size_t bytes) {
  XXH128_canonicalFromHash(&canonical, xxh3(input, bytes));
  return canonical.digest;
}

/*
 * The same of each block in the input buffer; the last may be shorter. block_size is 16 at least. The digests go to the
 * start of the input buffer, 16 bytes each: no more than a block, so nothing unread is overwritten.
 */
void EXPORT(xxh3_blocks)(size_t bytes, size_t block_size) {
  unsigned char *digest = input;
  for (size_t offset = 0; offset < bytes; offset += block_size, digest += 16) {
    size_t length = bytes - offset < block_size ? bytes - offset : block_size;
    XXH128_hash_t hash = xxh3(input + offset, length);
    XXH128_canonicalFromHash((XXH128_canonical_t *)digest, hash);
  }
}

/* ---- PostgreSQL page checksums; the rule is in src/include/storage/checksum_impl.h of PostgreSQL ---- */

typedef uint32_t lanes4 __attribute__((vector_size(16)));
typedef uint32_t lanes4_unaligned __attribute__((vector_size(16), aligned(1)));
#define GROUPS 8 /* of four lanes each */
#define MIX(sum, value) ({ lanes4 mixed = (sum) ^ (value); mixed * 16777619u ^ mixed >> 17; })

static const uint32_t checksum_base[GROUPS * 4] __attribute__((aligned(16))) = {
  0x5b1f36e9, 0xb8525960, 0x02ab50aa, 0x1de66d2a, 0x79ff467a, 0x9bb9f8a3, 0x217e7cd2, 0x83e13d2c,
  0xf8d4474f, 0xe39eb970, 0x42c6ae16, 0x993216fa, 0x7b093b5d, 0x98daff3c, 0xf718902a, 0x0b1c9cdb,
  0xe58f764b, 0x187636bc, 0x5d7b3bb1, 0xe73de7de, 0x92bec979, 0xcca6c0b2, 0x304a0979, 0x85aa43d4,
  0x783125bb, 0x6ca8eaa2, 0xe407eac6, 0x4b5cfc3e, 0x9fbf8c76, 0x15ca20be, 0xf2ca9fd3, 0x959bd756,
};

static uint16_t page_checksum(const unsigned char *page, size_t page_size, uint32_t block) {
  lanes4 sums[GROUPS];
  const lanes4 *base = (const lanes4 *)checksum_base;
  const lanes4_unaligned *row = (const lanes4_unaligned *)page;
  /* pd_checksum is the lower half of the third word, and counts as zero. */
  const lanes4 without_checksum = {~0u, ~0u, 0xffff0000u, ~0u};
  sums[0] = MIX(base[0], row[0] & without_checksum);
  for (int g = 1; g < GROUPS; g++) sums[g] = MIX(base[g], row[g]);
  for (size_t done = GROUPS * 16; done < page_size; done += GROUPS * 16) {
    row += GROUPS;
    for (int g = 0; g < GROUPS; g++) sums[g] = MIX(sums[g], row[g]);
  }
  lanes4 all = {0, 0, 0, 0};
  const lanes4 zero = {0, 0, 0, 0};
  for (int g = 0; g < GROUPS; g++) {
    lanes4 sum = MIX(sums[g], zero);
    all ^= MIX(sum, zero);
  }
  return (uint16_t)((all[0] ^ all[1] ^ all[2] ^ all[3] ^ block) % 65535 + 1);
}

static int all_zero(const unsigned char *page, size_t page_size) {
  const uint64_t *words = (const uint64_t *)page;
  for (size_t i = 0; i < page_size / 8; i++)
    if (words[i] != 0) return 0;
  return 1;
}

/*
 * Verifies the pages in the input buffer. page_size is a multiple of 128. Indexes of suspect pages go to the start of
 * the input buffer as 32-bit integers (a page is larger than its index, so none is overwritten before it is read).
 * Returns how many there are.
 */
size_t EXPORT(verify_pages)(size_t pages, size_t page_size, uint32_t first_block, int header_check) {
  size_t suspects = 0;
  for (size_t index = 0; index < pages; index++) {
    const unsigned char *page = input + index * page_size;
    uint16_t checksum = (uint16_t)(page[8] | page[9] << 8), upper = (uint16_t)(page[14] | page[15] << 8);
    int unused = (header_check ? upper : checksum) == 0;
    if (unused ? all_zero(page, page_size) : page_checksum(page, page_size, first_block + (uint32_t)index) == checksum)
      continue;
    ((uint32_t *)input)[suspects++] = (uint32_t)index;
  }
  return suspects;
}
