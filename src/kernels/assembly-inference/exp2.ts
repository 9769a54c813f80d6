// 2^x and e^x of four lanes, with the steps of kernels/exp2.ts, which explains them.
//
// Constants are exported and mutable so that no optimiser folds them: V8 builds a constant vector anew at
// every use (docs/LOG.md). A broadcast from where the global lies is two instructions; there are too many of
// them to keep in registers.

export let ROUNDER: f32 = 12582912;
export let P5: f32 = 0.00015461447765119374;
export let P4: f32 = 0.0013390866806730628;
export let P3: f32 = 0.009618056938052177;
export let P2: f32 = 0.055503569543361664;
export let P1: f32 = 0.24022650718688965;
export let P0: f32 = 0.6931471824645996;
export let UNIT: f32 = 1;
export let LOG2_E: f32 = 1.4426950216293335;
export let LN2_HIGH: f32 = 0.693138122558594;
export let LN2_LOW: f32 = 0.00000905800061445916;
export let HIGHEST: f32 = 128;
export let LOWEST: f32 = -126;
export let EXP_HIGHEST: f32 = 127.5;
export let EXP_LOWEST: f32 = -125.5;
export let INFINITE: f32 = Infinity;

// @ts-ignore: decorator
@inline
export function splat(value: f32): v128 {
  return f32x4.splat(value);
}

/** 2^f, |f| <= 1/2, times 2^n; the low bits of `biased` are n. */
// @ts-ignore: decorator
@inline
function power(f: v128, biased: v128): v128 {
  let p = f32x4.add(f32x4.mul(splat(P5), f), splat(P4));
  p = f32x4.add(f32x4.mul(p, f), splat(P3));
  p = f32x4.add(f32x4.mul(p, f), splat(P2));
  p = f32x4.add(f32x4.mul(p, f), splat(P1));
  p = f32x4.add(f32x4.mul(p, f), splat(P0));
  p = f32x4.add(f32x4.mul(p, f), splat(UNIT));
  return i32x4.add(p, i32x4.shl(biased, 23));
}

/** What is out of range: 0 below `lowest`, infinity from `highest` on, NaN of NaN. */
// @ts-ignore: decorator
@inline
function limited(result: v128, x: v128, lowest: f32, highest: f32): v128 {
  const within = v128.bitselect(result, f32x4.add(x, splat(INFINITE)), f32x4.lt(x, splat(highest)));
  return v128.andnot(within, f32x4.lt(x, splat(lowest)));
}

// @ts-ignore: decorator
@inline
export function exp2x4(x: v128): v128 {
  const biased = f32x4.add(x, splat(ROUNDER));
  const f = f32x4.sub(x, f32x4.sub(biased, splat(ROUNDER)));
  return limited(power(f, biased), x, LOWEST, HIGHEST);
}

// @ts-ignore: decorator
@inline
export function expx4(x: v128): v128 {
  const scaled = f32x4.mul(x, splat(LOG2_E));
  const biased = f32x4.add(scaled, splat(ROUNDER));
  const n = f32x4.sub(biased, splat(ROUNDER));
  const rest = f32x4.sub(f32x4.sub(x, f32x4.mul(n, splat(LN2_HIGH))), f32x4.mul(n, splat(LN2_LOW)));
  return limited(power(f32x4.mul(rest, splat(LOG2_E)), biased), scaled, EXP_LOWEST, EXP_HIGHEST);
}
