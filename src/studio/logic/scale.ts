/** Axes of plots: from values to pixels, and where the ticks stand. */

export interface Scale {
  min: number;
  max: number;
  ticks: number[];
  /** Position of a value, between the ends that were given. */
  at: (value: number) => number;
}

/** A scale whose ends are round and hold all values; `from` is the pixel of its lowest. */
export function scaleOf(
  values: readonly number[],
  {
    from,
    to,
    min,
    max,
    numTicks = 5,
  }: { from: number; to: number; min?: number; max?: number; numTicks?: number },
): Scale {
  let low = min ?? Math.min(...values);
  let high = max ?? Math.max(...values);
  if (!Number.isFinite(low) || !Number.isFinite(high)) [low, high] = [0, 1];
  if (high <= low) [low, high] = [low - (low === 0 ? 0 : Math.abs(low) / 2), low + (Math.abs(low) / 2 || 1)];
  const step = roundStep((high - low) / numTicks);
  const first = min ?? Math.floor(low / step) * step;
  const last = max ?? Math.ceil(high / step - 1e-9) * step;
  const count = Math.round((last - first) / step);
  const ticks = Array.from({ length: count + 1 }, (_, index) => cleaned(first + index * step)).filter(
    (tick) => tick <= last + 1e-9 * step,
  );
  const at = (value: number) => from + ((value - first) / (last - first)) * (to - from);
  return { min: first, max: last, ticks, at };
}

/** 1, 2, 2.5 or 5 times a power of ten, no less than `step`. */
function roundStep(step: number): number {
  const power = 10 ** Math.floor(Math.log10(step));
  const factor = [1, 2, 2.5, 5, 10].find((each) => each * power >= step * (1 - 1e-9)) ?? 10;
  return factor * power;
}

/** Without the last bits of sums such as 0.1 + 0.2. */
function cleaned(value: number): number {
  return Number(value.toPrecision(12));
}
