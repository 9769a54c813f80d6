// The steps of a sum, in the order that inference.ts writes down: one accumulator vector for each token and
// row, group after group, plane after plane; at a block's end its scale.

import { E4M3, F32 } from "../assembly/codec";
import { TWO_20, evenHalves, lower, oddHalves, upper } from "./decode";

// @ts-ignore: decorator
@inline
export function add(acc: v128, w: v128, x: v128): v128 {
  return f32x4.add(acc, f32x4.mul(w, x));
}

/** acc after one group; x points at its planes. */
// @ts-ignore: decorator
@inline
export function step(dtype: i32, acc: v128, v: v128, x: usize, halves: v128, mask: v128): v128 {
  if (dtype == F32) return add(acc, v, v128.load(x));
  if (dtype == E4M3) {
    const even = evenHalves(v, halves);
    const odd = oddHalves(v, halves);
    acc = add(acc, lower(E4M3, even), v128.load(x));
    acc = add(acc, lower(E4M3, odd), v128.load(x, 16));
    acc = add(acc, upper(E4M3, even, mask), v128.load(x, 32));
    return add(acc, upper(E4M3, odd, mask), v128.load(x, 48));
  }
  acc = add(acc, lower(dtype, v), v128.load(x));
  return add(acc, upper(dtype, v, mask), v128.load(x, 16));
}

/** total after a block. */
// @ts-ignore: decorator
@inline
export function closed(dtype: i32, total: v128, acc: v128, scale: usize): v128 {
  if (dtype != E4M3) return f32x4.add(total, acc);
  const factor = scale ? load<f32>(scale) * TWO_20 : TWO_20;
  return f32x4.add(total, f32x4.mul(acc, f32x4.splat(factor)));
}

// @ts-ignore: decorator
@inline
export function laneSum(v: v128): f32 {
  return (
    f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1) + (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3))
  );
}
