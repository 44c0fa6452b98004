#!/bin/sh
# Compiles native/ to src/codec/kernels.wasm, which is committed so that an installation needs no compiler.
# Needs clang and wasm-ld (Debian: apt install clang lld). With an argument, writes there instead.
set -eu
cd "$(dirname "$0")/.."
out=${1:-src/codec/kernels.wasm}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# xxhash treats SIMD of wasm as that of ARM, whose header clang has; select its scalar path, beside which kernels.c has its own.
flags='--target=wasm32 -nostdlib -nostdlibinc -O3 -mbulk-memory -msimd128 -mnontrapping-fptoint -fvisibility=hidden
  -fno-ident -Wall -Wno-unused-function -DNDEBUG -Inative/include -Inative/vendor/xxhash
  -U__wasm_simd128__ -DXXH_VECTOR=0'
compile() {
  source=$1
  shift
  # shellcheck disable=SC2086 -- the flags are words
  ${CLANG:-clang} $flags "$@" -c "$source" -o "$work/$(basename "$source" .c).o"
}

# wasm32 has 32-bit addresses but 64-bit registers, like x32, whose macro LZ4 checks.
compile native/vendor/lz4/lz4.c -D__x86_64__ -DLZ4_STATIC_LINKING_ONLY
compile native/vendor/lz4/lz4hc.c -D__x86_64__
compile native/vendor/lz4/lz4frame.c -DXXH_INLINE_ALL
for part in blocksort bzlib compress crctable decompress huffman randtable; do
  compile "native/vendor/bzip2/$part.c" -DBZ_NO_STDIO -Os -Wno-unused-but-set-variable
done
compile native/kernels.c -DBZ_NO_STDIO
${WASM_LD:-wasm-ld} --no-entry --gc-sections --strip-all -z stack-size=131072 --lto-O3 -O2 "$work"/*.o -o "$out"
chmod 644 "$out"
echo "$out: $(wc -c <"$out") bytes"
