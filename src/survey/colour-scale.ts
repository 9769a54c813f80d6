/**
 * Colours for numbers above 0: from dark violet to light yellow, lightness rising evenly (OKLCH, from 0.27 to
 * 0.93), so that order shows without a legend, in grey print and to the colour-blind, on light and dark pages.
 *
 * The range is that of the data, never from 0: experts differ from their twins by nearly the same amount, and
 * it is the rest that one looks for. What is exactly 0 is no colour of the scale. Beyond a factor of 8 the scale
 * is logarithmic. Values fall into 32 levels, which no eye tells apart from a continuum.
 */
import { formatDistance } from "./distance.ts";

const STOPS = [
  ...["#35025d", "#292d82", "#01538f", "#077391", "#009298"],
  ...["#09b296", "#4ed07d", "#aae258", "#fcee28"],
];
const LEVELS = 32;
const LOG_FROM = 8;
const NUM_TICKS = 3;

export interface ColourScale {
  isLogarithmic: boolean;
  /** One colour per level, the lowest first. */
  colours: string[];
  /** Level of a value above 0. What lies outside the range takes the nearest end. */
  levelOf(value: number): number;
  /** Values along the scale; positions from 0 to 1. */
  ticks: { position: number; label: string }[];
}

/** undefined when no value is above 0. Infinite values do not stretch the range. */
export function colourScale(values: Iterable<number>): ColourScale | undefined {
  let [min, max] = [Number.POSITIVE_INFINITY, 0];
  let isBeyond = false;
  for (const value of values) {
    isBeyond ||= value === Number.POSITIVE_INFINITY;
    if (!(value > 0 && value < Number.POSITIVE_INFINITY)) continue;
    min = Math.min(min, value);
    max = Math.max(max, value);
  }
  if (max === 0 && isBeyond) max = min; // infinite, all of them
  if (max === 0) return undefined;
  if (min === max) {
    const ticks = [{ position: 0.5, label: formatDistance(max) }];
    return { isLogarithmic: false, colours: [colourAt(0.5)], levelOf: () => 0, ticks };
  }
  const isLogarithmic = max / min > LOG_FROM;
  const [to, from] = isLogarithmic ? [Math.log, Math.exp] : [(x: number) => x, (x: number) => x];
  const [low, span] = [to(min), to(max) - to(min)];
  return {
    isLogarithmic,
    colours: Array.from({ length: LEVELS }, (_, level) => colourAt(level / (LEVELS - 1))),
    levelOf: (value) => {
      const share = value === Number.POSITIVE_INFINITY ? 1 : (to(value) - low) / span;
      return Math.max(0, Math.min(LEVELS - 1, Math.floor(share * LEVELS)));
    },
    ticks: Array.from({ length: NUM_TICKS }, (_, tick) => {
      const position = tick / (NUM_TICKS - 1);
      // The ends are the data's own, not what logarithm and exponential make of them.
      const value = position === 0 ? min : position === 1 ? max : from(low + position * span);
      return { position, label: formatDistance(value) };
    }),
  };
}

/** 0 to 1 along the stops, as #rrggbb. */
export function colourAt(share: number): string {
  const at = Math.max(0, Math.min(1, share)) * (STOPS.length - 1);
  const index = Math.min(STOPS.length - 2, Math.floor(at));
  const channels = [1, 3, 5].map((start) => {
    const [a, b] = [STOPS[index]!, STOPS[index + 1]!].map((stop) =>
      Number.parseInt(stop.slice(start, start + 2), 16),
    );
    return Math.round(a! + (b! - a!) * (at - index));
  });
  return `#${channels.map((channel) => channel.toString(16).padStart(2, "0")).join("")}`;
}
