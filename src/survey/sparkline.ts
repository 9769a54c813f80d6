/** A row of block characters: one number per column, from 0 to the largest. */

const BLOCKS = [..."▁▂▃▄▅▆▇█"];

/** "·" stands for 0, a space for a column without a number. Infinite values reach the top. */
export function sparkline(values: readonly (number | undefined)[]): string {
  const finite = values.filter(
    (value) => value !== undefined && value < Number.POSITIVE_INFINITY,
  ) as number[];
  const largest = finite.reduce((most, value) => Math.max(most, value), 0);
  return values
    .map((value) => {
      if (value === undefined) return " ";
      if (value === 0) return "·";
      const share = value < Number.POSITIVE_INFINITY ? value / largest : 1;
      return BLOCKS[Math.max(0, Math.min(BLOCKS.length, Math.ceil(share * BLOCKS.length)) - 1)];
    })
    .join("");
}
