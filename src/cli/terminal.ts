/**
 * What the terminal can do, and text for it. Data goes to stdout, everything else to stderr.
 * NO_COLOR and FORCE_COLOR are honoured, each stream is asked for itself.
 */

export type Style = "bold" | "dim" | "red" | "green" | "yellow" | "cyan";

const CODES: Record<Style, [number, number]> = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  cyan: [36, 39],
};

function hasColour(stream: NodeJS.WriteStream): boolean {
  if (process.env.NO_COLOR) return false;
  if (process.env.FORCE_COLOR) return process.env.FORCE_COLOR !== "0";
  return stream.isTTY === true && process.env.TERM !== "dumb";
}

function painter(stream: NodeJS.WriteStream): (style: Style, text: string) => string {
  return (style, text) => {
    if (!hasColour(stream)) return text;
    const [on, off] = CODES[style];
    return `\x1b[${on}m${text}\x1b[${off}m`;
  };
}

/** Paints text for stdout, and for stderr. */
export const paint: (style: Style, text: string) => string = painter(process.stdout);
export const paintError: (style: Style, text: string) => string = painter(process.stderr);

/** Names come from files: shown without control characters, so that none can steer the terminal. */
export function clean(text: string): string {
  return text.replace(/\p{Cc}/gu, "�");
}

/** A path as a shell takes it: for commands to copy. */
export function quoted(path: string): string {
  return /^[\w./~@%+:,=-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}

/** A line (or several) to stdout. Text from files goes through clean() first. */
export function print(line = ""): void {
  process.stdout.write(`${line}\n`);
}

/** One JSON document to stdout. */
export function printJson(value: object): void {
  process.stdout.write(`${JSON.stringify({ schemaVersion: 1, ...value }, null, 2)}\n`);
}

/** A line to stderr. */
export function note(line = ""): void {
  process.stderr.write(`${line}\n`);
}

/** Of the terminal that progress is drawn on. */
export function columns(): number {
  return Math.max(40, process.stderr.columns ?? process.stdout.columns ?? 100);
}

/** Of the terminal that data is shown on; without end where a file or a pipe takes it. */
export function columnsOfData(): number {
  return process.stdout.isTTY ? Math.max(40, process.stdout.columns ?? 80) : Number.POSITIVE_INFINITY;
}

/** Visible width: colours have none. Names here are ASCII but for a few signs of width one. */
function width(text: string): number {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what colours are
  return [...text.replace(/\x1b\[\d+m/g, "")].length;
}

/** Facts in a row, in as many lines as it takes: none is torn at the terminal's edge. */
export function joined(facts: readonly string[], separator: string, columns: number): string {
  const lines: string[] = [];
  for (const fact of facts) {
    const longer = lines.length > 0 ? `${lines.at(-1)}${separator}${fact}` : fact;
    if (lines.length > 0 && width(longer) <= columns) lines[lines.length - 1] = longer;
    else lines.push(fact);
  }
  return lines.join("\n");
}

/** Visible width of the widest of some lines. */
export function widthOf(lines: string): number {
  return Math.max(...lines.split("\n").map(width));
}

/** Rows as aligned columns. `right` says which columns hold numbers. */
export function table(
  rows: readonly (readonly string[])[],
  { right = [] }: { right?: readonly number[] } = {},
): string {
  const widths: number[] = [];
  for (const row of rows)
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, width(cell));
  return rows
    .map((row) =>
      row
        .map((cell, i) => {
          const pad = " ".repeat(widths[i]! - width(cell));
          return right.includes(i) ? pad + cell : cell + pad;
        })
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
