/** "5", "5-7,9" or "all" -> numbers from 1 to `total`. Throws RangeError for anything else. */
export function parseRanges(text: string, total: number): Set<number> {
  if (text === "all") return new Set(Array.from({ length: total }, (_, i) => i + 1));
  const numbers = new Set<number>();
  for (const part of text.split(",")) {
    const match = /^\s*(\d{1,9})(?:-(\d{1,9}))?\s*$/.exec(part);
    const [from, to] = [Number(match?.[1]), Number(match?.[2] ?? match?.[1])];
    if (!match || from < 1 || to < from || to > total) {
      throw new RangeError(
        `Cannot read shards "${text}": found "${part}", wanted numbers from 1 to ${total}, such as 5-7,9, or all`,
      );
    }
    for (let i = from; i <= to; i++) numbers.add(i);
  }
  return numbers;
}
