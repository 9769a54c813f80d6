/**
 * Powers of two and e in float32, from additions and products alone, each rounded: the same bits in every
 * implementation, which Math.exp does not promise. assembly-inference/exp2.ts has the same steps.
 *
 * x = n + f with n the nearest integer (by adding and subtracting 1.5·2^23); 2^f = 1 + f·P(f) with P of
 * degree 5, fitted at Chebyshev nodes of [-1/2, 1/2]; times 2^n, exactly. Results below 2^-126 are 0:
 * denormals would slow down every product that follows. Relative error < 1.2e-7 of 2^x, < 2.5e-7 of e^x.
 */
const { fround } = Math;

const ROUNDER = 12582912;
const P5: number = fround(0.00015461447765119374);
const P4: number = fround(0.0013390866806730628);
const P3: number = fround(0.009618056938052177);
const P2: number = fround(0.055503569543361664);
const P1: number = fround(0.24022650718688965);
const P0: number = fround(0.6931471824645996);
const LOG2_E: number = fround(Math.LOG2E);
/** ln 2 in two parts (fdlibm's): n · LN2_HIGH is exact for |n| <= 128. */
const LN2_HIGH: number = fround(0.693138122558594);
const LN2_LOW: number = fround(9.05800061445916e-6);

function nearestInteger(x: number): number {
  return fround(fround(x + ROUNDER) - ROUNDER);
}

/** 2^f for |f| <= 1/2. */
function power(f: number): number {
  let p = fround(fround(P5 * f) + P4);
  p = fround(fround(p * f) + P3);
  p = fround(fround(p * f) + P2);
  p = fround(fround(p * f) + P1);
  p = fround(fround(p * f) + P0);
  return fround(fround(p * f) + 1);
}

/** 2^x of a float32. 0 below -126, infinite from 128 on, NaN of NaN. */
export function exp2(x: number): number {
  if (!(x < 128)) return x + Infinity;
  if (x < -126) return 0;
  const n = nearestInteger(x);
  return power(fround(x - n)) * 2 ** n;
}

/** e^x of a float32. 0 below -125.5 ln 2 ≈ -87, infinite from 127.5 ln 2 ≈ 88.4 on, NaN of NaN. */
export function exp(x: number): number {
  const scaled = fround(x * LOG2_E);
  if (!(scaled < 127.5)) return scaled + Infinity;
  if (scaled < -125.5) return 0;
  const n = nearestInteger(scaled);
  // The rest after n · ln 2 is taken from x itself: the rounding of `scaled` would grow with |x|.
  const rest = fround(fround(x - fround(n * LN2_HIGH)) - fround(n * LN2_LOW));
  return power(fround(rest * LOG2_E)) * 2 ** n;
}
