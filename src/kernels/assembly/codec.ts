// Vector and scalar codecs of the number formats: one value or one v128 at a time.
//
// Decoding E4M3 without tables: shift a code to the top of a 32-bit lane, shift it right
// arithmetically by 4 and mask with 0x87F00000. Sign, the 4 exponent bits and the 3 mantissa bits
// then stand where a float32 has them, and the value is 2^-120 of what the code means, subnormals
// included. A product with 2^120 is exact. NaN codes (0x7F, 0xFF) come out as ±480 this way, so
// whoever uses the raw decode tests for them apart.
//
// Encoding follows model.md section 11: normals round by adding half a step to the bits (ties to
// even), subnormals by one float32 addition of 2^14 (E4M3) or 2^7 (E5M2), which rounds exactly.

export const F32: i32 = 0;
export const BF16: i32 = 1;
export const F16: i32 = 2;
export const E4M3: i32 = 3;
export const E5M2: i32 = 4;

/** 2^120 as float32 bits: undoes the exponent shift of the raw E4M3 decode. */
export const TWO_120_BITS: i32 = 0x7b800000;

// @ts-ignore: decorator
@inline
export function elementSize(dtype: i32): usize {
  return dtype == F32 ? 4 : dtype == BF16 || dtype == F16 ? 2 : 1;
}

// Raw decode of four codes ---------------------------------------------------------------------

/** Four codes standing in the top byte of each lane -> value · 2^-120. */
// @ts-ignore: decorator
@inline
export function rawTop(v: v128): v128 {
  return v128.and(i32x4.shr_s(v, 4), i32x4.splat(0x87f00000));
}

/** Sixteen bytes -> sixteen lanes in natural order, each byte zero-extended; part 0..3. */
// @ts-ignore: decorator
@inline
export function bytesLane(v: v128, part: i32): v128 {
  const half = part < 2 ? i16x8.extend_low_i8x16_u(v) : i16x8.extend_high_i8x16_u(v);
  return part & 1 ? i32x4.extend_high_i16x8_u(half) : i32x4.extend_low_i16x8_u(half);
}

/** Whether any of sixteen E4M3 codes is NaN: lanes of 0xFF where one is. */
// @ts-ignore: decorator
@inline
export function nanCodes(v: v128): v128 {
  return i8x16.eq(v128.and(v, i8x16.splat(0x7f)), i8x16.splat(0x7f));
}

// Natural-order decode of four elements, NaNs included ------------------------------------------

// @ts-ignore: decorator
@inline
export function decodeE4m3x4(codes: v128): v128 {
  const raw = rawTop(i32x4.shl(codes, 24));
  const value = f32x4.mul(raw, f32x4.splat(reinterpret<f32>(TWO_120_BITS)));
  const nan = i32x4.eq(v128.and(codes, i32x4.splat(0x7f)), i32x4.splat(0x7f));
  return v128.or(value, v128.and(nan, i32x4.splat(0x7fc00000)));
}

/** Four half bit patterns in the low half of each lane -> float32. */
// @ts-ignore: decorator
@inline
export function decodeF16x4(bits: v128): v128 {
  const sign = i32x4.shl(v128.and(bits, i32x4.splat(0x8000)), 16);
  const magnitude = i32x4.shl(v128.and(bits, i32x4.splat(0x7fff)), 13);
  // 2^112 moves the exponent bias from 15 to 127 and normalises subnormals, exactly.
  const value = f32x4.mul(magnitude, f32x4.splat(reinterpret<f32>(0x77800000)));
  const special = i32x4.ge_s(magnitude, i32x4.splat(0x0f800000));
  const kept = v128.or(magnitude, i32x4.splat(0x7f800000));
  return v128.or(v128.bitselect(kept, value, special), sign);
}

/** E5M2 is the upper byte of a half. */
// @ts-ignore: decorator
@inline
export function decodeE5m2x4(codes: v128): v128 {
  return decodeF16x4(i32x4.shl(codes, 8));
}

// Encode of four elements; the code stands in the low bits of each lane -------------------------

/** Without the test for NaN, for values known to be finite: code 0x7F never comes out. */
// @ts-ignore: decorator
@inline
export function encodeFiniteE4m3x4(x: v128): v128 {
  const a = v128.and(x, i32x4.splat(0x7fffffff));
  const sign = v128.and(i32x4.shr_u(x, 24), i32x4.splat(0x80));
  const subnormal = i32x4.sub(f32x4.add(a, f32x4.splat(16384)), i32x4.splat(0x46800000));
  const odd = v128.and(i32x4.shr_u(a, 20), i32x4.splat(1));
  const rounded = i32x4.add(i32x4.add(a, i32x4.splat(0x7ffff - (960 << 20))), odd);
  const normal = i32x4.shr_s(rounded, 20);
  const code = v128.bitselect(subnormal, normal, i32x4.lt_s(a, i32x4.splat(0x3c800000)));
  return v128.or(i32x4.min_s(code, i32x4.splat(0x7e)), sign);
}

// @ts-ignore: decorator
@inline
export function encodeE4m3x4(x: v128, saturate: bool): v128 {
  const a = v128.and(x, i32x4.splat(0x7fffffff));
  const sign = v128.and(i32x4.shr_u(x, 24), i32x4.splat(0x80));
  // 464 is the tie between 448 and the step that does not exist; it goes to the even code, 448.
  const limit = saturate ? 0x7f800000 : 0x43e80000;
  const nan = v128.and(i32x4.gt_s(a, i32x4.splat(limit)), i32x4.splat(0x7f));
  return v128.or(v128.or(encodeFiniteE4m3x4(x), nan), sign);
}

// @ts-ignore: decorator
@inline
export function encodeE5m2x4(x: v128, saturate: bool): v128 {
  const a = v128.and(x, i32x4.splat(0x7fffffff));
  const sign = v128.and(i32x4.shr_u(x, 24), i32x4.splat(0x80));
  const subnormal = i32x4.sub(f32x4.add(a, f32x4.splat(128)), i32x4.splat(0x43000000));
  const odd = v128.and(i32x4.shr_u(a, 21), i32x4.splat(1));
  const rounded = i32x4.add(i32x4.add(a, i32x4.splat(0xfffff - (448 << 21))), odd);
  const normal = i32x4.shr_s(rounded, 21);
  const code = v128.bitselect(subnormal, normal, i32x4.lt_s(a, i32x4.splat(0x38800000)));
  const capped = i32x4.min_s(code, i32x4.splat(saturate ? 0x7b : 0x7c));
  const nan = i32x4.gt_s(a, i32x4.splat(0x7f800000));
  return v128.or(v128.bitselect(i32x4.splat(0x7f), capped, nan), sign);
}

// @ts-ignore: decorator
@inline
export function encodeBf16x4(x: v128): v128 {
  const odd = v128.and(i32x4.shr_u(x, 16), i32x4.splat(1));
  const rounded = i32x4.shr_u(i32x4.add(i32x4.add(x, i32x4.splat(0x7fff)), odd), 16);
  // A NaN keeps its upper bits and becomes quiet; rounding could carry it to infinity or to zero.
  const quiet = v128.or(i32x4.shr_u(x, 16), i32x4.splat(0x40));
  const nan = i32x4.gt_s(v128.and(x, i32x4.splat(0x7fffffff)), i32x4.splat(0x7f800000));
  return v128.bitselect(quiet, rounded, nan);
}

// @ts-ignore: decorator
@inline
export function encodeF16x4(x: v128): v128 {
  const a = v128.and(x, i32x4.splat(0x7fffffff));
  const sign = v128.and(i32x4.shr_u(x, 16), i32x4.splat(0x8000));
  // Below 2^-14 one step is 2^-24: adding 0.5 (whose last bit is 2^-24) rounds to it exactly.
  const subnormal = i32x4.sub(f32x4.add(a, f32x4.splat(0.5)), i32x4.splat(0x3f000000));
  const odd = v128.and(i32x4.shr_u(a, 13), i32x4.splat(1));
  const rounded = i32x4.add(i32x4.add(a, i32x4.splat(0xfff - (112 << 23))), odd);
  const normal = i32x4.shr_s(rounded, 13);
  const code = v128.bitselect(subnormal, normal, i32x4.lt_s(a, i32x4.splat(0x38800000)));
  const capped = i32x4.min_s(code, i32x4.splat(0x7c00));
  const nan = i32x4.gt_s(a, i32x4.splat(0x7f800000));
  return v128.or(v128.bitselect(i32x4.splat(0x7e00), capped, nan), sign);
}

// Any format, four elements in natural order ----------------------------------------------------

/** Loads elements i..i+3 of an array as float32. Reads no byte beyond them. */
// @ts-ignore: decorator
@inline
export function load4(dtype: i32, src: usize, i: i32): v128 {
  if (dtype == F32) return v128.load(src + (<usize>i << 2));
  if (dtype == BF16) return i32x4.shl(v128.load16x4_u(src + (<usize>i << 1)), 16);
  if (dtype == F16) return decodeF16x4(v128.load16x4_u(src + (<usize>i << 1)));
  const codes = i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(src + <usize>i)));
  return dtype == E4M3 ? decodeE4m3x4(codes) : decodeE5m2x4(codes);
}

/** One element, by the same formulas: lane 0 of a vector that holds only it. */
// @ts-ignore: decorator
@inline
export function load1(dtype: i32, src: usize, i: i32): f32 {
  if (dtype == F32) return load<f32>(src + (<usize>i << 2));
  if (dtype == BF16) return reinterpret<f32>(<u32>load<u16>(src + (<usize>i << 1)) << 16);
  if (dtype == F16) return f32x4.extract_lane(decodeF16x4(i32x4.splat(load<u16>(src + (<usize>i << 1)))), 0);
  const code = i32x4.splat(load<u8>(src + <usize>i));
  return f32x4.extract_lane(dtype == E4M3 ? decodeE4m3x4(code) : decodeE5m2x4(code), 0);
}

/** Rounding of the FP8 formats beyond their largest value: 1 saturates, 0 follows the format. */
// @ts-ignore: decorator
@inline
export function encode4(dtype: i32, x: v128, saturate: bool): v128 {
  if (dtype == F32) return x;
  if (dtype == BF16) return encodeBf16x4(x);
  if (dtype == F16) return encodeF16x4(x);
  return dtype == E4M3 ? encodeE4m3x4(x, saturate) : encodeE5m2x4(x, saturate);
}

/** Stores four encoded elements. */
// @ts-ignore: decorator
@inline
export function store4(dtype: i32, dst: usize, i: i32, code: v128): void {
  if (dtype == F32) {
    v128.store(dst + (<usize>i << 2), code);
  } else if (dtype == BF16 || dtype == F16) {
    const low = i8x16.shuffle(code, code, 0, 1, 4, 5, 8, 9, 12, 13, 0, 1, 4, 5, 8, 9, 12, 13);
    v128.store64_lane(dst + (<usize>i << 1), low, 0);
  } else {
    const low = i8x16.shuffle(code, code, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12);
    v128.store32_lane(dst + <usize>i, low, 0);
  }
}

/** Stores lane 0 of an encoded vector. */
// @ts-ignore: decorator
@inline
export function store1(dtype: i32, dst: usize, i: i32, code: v128): void {
  const bits = i32x4.extract_lane(code, 0);
  if (dtype == F32) store<i32>(dst + (<usize>i << 2), bits);
  else if (dtype == BF16 || dtype == F16) store<u16>(dst + (<usize>i << 1), <u16>bits);
  else store<u8>(dst + <usize>i, <u8>bits);
}
