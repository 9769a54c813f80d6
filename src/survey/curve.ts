/**
 * The δ curve: how much a build would merge, threshold by threshold.
 *
 * A tensor is merged when its distance is above δ (assembly.md section 1). Thresholds are 0 and quantiles of
 * what was measured, rounded to four digits first and counted then, so that each can be typed into a recipe
 * as it is printed and takes exactly the tensors it stands beside.
 */
import type { Measure } from "../logical/measure.ts";
import { type CompareRow, distanceIn } from "./distance.ts";

export interface CurvePoint {
  threshold: number;
  /** What lies above it, of everything that was compared. */
  tensors: number;
  bytes: number;
  tensorShare: number;
  byteShare: number;
  /** The same of the main layers' routed experts, the usual selection. */
  routedExperts: { tensors: number; bytes: number };
}

const QUANTILES = [0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1];

export function thresholdCurve(rows: readonly CompareRow[], measure: Measure): CurvePoint[] {
  const sorted = rows
    .map((row) => distanceIn(row, measure))
    .filter((distance) => distance > 0 && distance < Number.POSITIVE_INFINITY)
    .sort((a, b) => a - b);
  const thresholds = new Set([0]);
  for (const quantile of sorted.length > 0 ? QUANTILES : []) {
    const value = sorted[Math.max(0, Math.ceil(quantile * sorted.length) - 1)]!;
    // The last point must have everything below it.
    thresholds.add(quantile === 1 ? roundUp(value) : Number(value.toPrecision(4)));
  }
  const total = sum(rows);
  return [...thresholds]
    .sort((a, b) => a - b)
    .map((threshold) => {
      const above = rows.filter((row) => distanceIn(row, measure) > threshold);
      const { tensors, bytes } = sum(above);
      return {
        threshold,
        tensors,
        bytes,
        tensorShare: total.tensors === 0 ? 0 : tensors / total.tensors,
        byteShare: total.bytes === 0 ? 0 : bytes / total.bytes,
        routedExperts: sum(above.filter(({ role, mtp }) => role === "routed-experts" && !mtp)),
      };
    });
}

function sum(rows: readonly CompareRow[]): { tensors: number; bytes: number } {
  return { tensors: rows.length, bytes: rows.reduce((bytes, row) => bytes + row.bytes, 0) };
}

/** The least number of four digits that is not below the value. */
function roundUp(value: number): number {
  const nearest = Number(value.toPrecision(4));
  if (nearest >= value) return nearest;
  const [digits, exponent] = value.toExponential(3).split("e");
  return Number(`${(Number(digits) + 0.001).toFixed(3)}e${exponent}`);
}
