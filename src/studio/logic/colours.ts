/**
 * Colours for distances: from dark violet to light yellow, lightness rising evenly, so that order shows without a legend, in
 * grey and to the colour-blind. The range is that of the data; beyond a factor of 8 it is logarithmic. What is exactly 0 is
 * no colour of the scale.
 */
export type Colour = readonly [red: number, green: number, blue: number];

const STOPS: readonly Colour[] = [
  [53, 2, 93],
  [41, 45, 130],
  [1, 83, 143],
  [7, 115, 145],
  [0, 146, 152],
  [9, 178, 150],
  [78, 208, 125],
  [170, 226, 88],
  [252, 238, 40],
];
const LOG_FROM = 8;

export interface ColourScale {
  min: number;
  max: number;
  isLogarithmic: boolean;
  /** From 0 to 1 along the scale; what lies outside takes the nearest end. */
  shareOf(value: number): number;
  /** The value at a share. */
  valueAt(share: number): number;
}

/** undefined when no value is above 0. Infinite values do not stretch the range. */
export function colourScale(values: Iterable<number>): ColourScale | undefined {
  let [min, max] = [Number.POSITIVE_INFINITY, 0];
  for (const value of values) {
    if (!(value > 0 && value < Number.POSITIVE_INFINITY)) continue;
    min = Math.min(min, value);
    max = Math.max(max, value);
  }
  if (max === 0) return undefined;
  const isLogarithmic = max / min > LOG_FROM;
  const [low, high] = isLogarithmic ? [Math.log(min), Math.log(max)] : [min, max];
  return {
    ...{ min, max, isLogarithmic },
    shareOf(value) {
      if (high === low) return 0.5;
      const at = ((isLogarithmic ? Math.log(value) : value) - low) / (high - low);
      return Math.max(0, Math.min(1, at));
    },
    valueAt(share) {
      const at = low + share * (high - low);
      return isLogarithmic ? Math.exp(at) : at;
    },
  };
}

export function colourAt(share: number): Colour {
  const at = Math.max(0, Math.min(1, share)) * (STOPS.length - 1);
  const index = Math.min(STOPS.length - 2, Math.floor(at));
  const mix = (channel: 0 | 1 | 2) => {
    const [from, to] = [STOPS[index]![channel], STOPS[index + 1]![channel]];
    return Math.round(from + (to - from) * (at - index));
  };
  return [mix(0), mix(1), mix(2)];
}

/** Without its colour, and of middle brightness, which neither a light page nor a dark one swallows. */
export function greyOf([red, green, blue]: Colour): Colour {
  const grey = Math.round(100 + 0.3 * (0.299 * red + 0.587 * green + 0.114 * blue));
  return [grey, grey, grey];
}
