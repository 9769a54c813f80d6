/** Axes: where ticks are, what they say, and where a value lies. */
import { fittedText, line, text } from "./svg.ts";

export interface AxisSpec {
  label: string;
  /** Where the axis begins and ends at least. Default: where the data do. */
  min?: number;
  max?: number;
  format?: "number" | "percent";
}

export interface Scale {
  ticks: number[];
  min: number;
  max: number;
  format: (value: number) => string;
  /** Pixels. */
  at(value: number): number;
}

/** Steps of 1, 2 and 5 and their tenfolds; about `count` of them. */
export function niceStep(range: number, count: number): number {
  const rough = range / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const factor = rough / power;
  return (factor <= 1 ? 1 : factor <= 2 ? 2 : factor <= 5 ? 5 : 10) * power;
}

/** What is larger has no place on an axis: its range would overflow. */
const MOST = 1e300;

/** Over finite values; [from, to] in pixels. */
export function scaleOf(
  { min, max, format = "number" }: AxisSpec,
  values: Iterable<number>,
  { from, to, count = 5 }: { from: number; to: number; count?: number },
): Scale {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of [min, max, ...values]) {
    if (value === undefined || !(Math.abs(value) < MOST)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low > high) [low, high] = [0, 1]; // nothing to show
  // Closer than what a double tells apart in a picture: one value, shown against 0.
  if (high - low <= 1e-9 * Math.max(Math.abs(low), Math.abs(high)))
    [low, high] = low === 0 ? [0, 1] : [Math.min(low, 0), Math.max(high, 0)];
  const step = niceStep(high - low, count);
  // A data point on the edge is fine; the axis ends at a tick.
  const first = Math.floor(low / step + 1e-9);
  const last = Math.ceil(high / step - 1e-9);
  const ticks = Array.from({ length: last - first + 1 }, (_, i) => tidy((first + i) * step));
  const [start, end] = [ticks[0]!, ticks.at(-1)!];
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return {
    ticks,
    min: start,
    max: end,
    format: (value) =>
      format === "percent"
        ? `${tidy(100 * value).toFixed(Math.max(0, digits - 2))} %`
        : value.toFixed(digits),
    at: (value) => from + ((value - start) / (end - start)) * (to - from),
  };
}

/** 0.30000000000000004 is 0.3. */
function tidy(value: number): number {
  return Number(value.toPrecision(12));
}

/** Pixels of the plot's edges. */
export interface Plot {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

/** Grid, ticks and labels of both axes. */
export function drawAxes(
  plot: Plot,
  x: { scale: Scale; label: string },
  y: { scale: Scale; label: string },
): string[] {
  const { left, right, top, bottom } = plot;
  const middle = (top + bottom) / 2;
  return [
    ...y.scale.ticks.flatMap((tick) => [
      line(left, y.scale.at(tick), right, y.scale.at(tick), "grid"),
      text(left - 8, y.scale.at(tick) + 4, y.scale.format(tick), 'class="soft" text-anchor="end"'),
    ]),
    line(left, bottom, right, bottom, "axis"),
    ...x.scale.ticks.flatMap((tick) => [
      line(x.scale.at(tick), bottom, x.scale.at(tick), bottom + 5, "axis"),
      text(x.scale.at(tick), bottom + 20, x.scale.format(tick), 'class="soft" text-anchor="middle"'),
    ]),
    fittedText((left + right) / 2, bottom + 40, x.label, {
      width: right - left,
      attributes: 'text-anchor="middle"',
    }),
    fittedText(16, middle, y.label, {
      width: bottom - top,
      attributes: `text-anchor="middle" transform="rotate(-90 16 ${Math.round(middle)})"`,
    }),
  ];
}

/** In place of points, where there are none. */
export function drawNothing({ left, right, top, bottom }: Plot): string {
  return text((left + right) / 2, (top + bottom) / 2, "no data", 'class="soft" text-anchor="middle"');
}
