// The merge of n parents over one band: the rows that share a row of scale blocks.
//
// Arithmetic, each step rounded to float32, nothing fused (assembly.md section 2):
//   d = f32(code) · scale;  acc = λ₁·d₁;  acc = acc + λᵢ·dᵢ
//   s = max(max|acc|, 1e-12) / 448;  code = E4M3(acc / s)
//
// An FP8 result needs the largest |acc| of a block before its first code. The band is therefore
// walked twice, row by row: memory is read in order (walking one 128-wide block down a 7168-wide
// matrix is bound by cache misses). Where all parents are FP8 that goes strip by strip, and the sums
// of a strip stay in the L2 cache for its second walk; others compute acc again.
//
// Inputs are described by 32-byte records in memory:
//   +0 dtype  +4 data  +8 row stride in bytes  +12 scales (f32 per column block, 0: none)
//   +16 weight λ (f32)  +20 folded scales (scratch)
//
// Here is what all merges share; merge-pair.ts, merge-many.ts and merge-rows.ts hold one kind of merge each.

export const RECORD: usize = 32;
export const ABS: i32 = 0x7fffffff;
export const INFINITY_BITS: i32 = 0x7f800000;
/** Sums that a strip keeps: 512 KiB, half of an L2 cache. kernels.ts has the same number. */
export const STRIP_ELEMENTS: i32 = 1 << 17;

// Block scales ----------------------------------------------------------------------------------

/** Scale of a block from the bits of its largest magnitude. powerOfTwo rounds it up (UE8M0). */
// @ts-ignore: decorator
@inline
export function blockScale(amaxBits: i32, powerOfTwo: bool): f32 {
  const s = max<f32>(reinterpret<f32>(amaxBits), <f32>1e-12) / <f32>448;
  if (!powerOfTwo) return s;
  return reinterpret<f32>(<i32>((<u32>reinterpret<i32>(s) + 0x7fffff) >> 23) << 23);
}

/** amax bits per block -> scale per block, for columns from..to. First block that is not finite, or -1. */
// @ts-ignore: decorator
@inline
export function scalesFromMaxima(
  maxima: usize, from: i32, to: i32, blockCols: i32, out: usize, powerOfTwo: bool,
): i32 {
  for (let b = from / blockCols; b * blockCols < to; b++) {
    const bits = load<i32>(maxima + (<usize>b << 2));
    if (bits >= INFINITY_BITS) return b;
    store<f32>(out + (<usize>b << 2), blockScale(bits, powerOfTwo));
  }
  return -1;
}

/** Columns of a strip: whole blocks, as many as the sums have room for. */
// @ts-ignore: decorator
@inline
export function stripCols(rows: i32, blockCols: i32): i32 {
  return max<i32>(1, STRIP_ELEMENTS / max<i32>(1, rows * blockCols)) * blockCols;
}

// @ts-ignore: decorator
@inline
export function maxLane(v: v128): i32 {
  const a = max<i32>(i32x4.extract_lane(v, 0), i32x4.extract_lane(v, 1));
  const b = max<i32>(i32x4.extract_lane(v, 2), i32x4.extract_lane(v, 3));
  return max<i32>(a, b);
}
