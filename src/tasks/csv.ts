/**
 * Comma-separated values with positions: RFC 4180, line breaks of all systems.
 *
 * A cell in quotes may hold anything, a quote twice. Empty lines are passed over. What the RFC forbids (a quote
 * that is never closed, text behind a closing quote) is a fault rather than a guess.
 */
import type { Faults } from "../yaml/faults.ts";
import type { Position } from "../yaml/position.ts";

export interface CsvRow {
  cells: string[];
  at: Position;
}

export function readCsv(text: string, faults: Faults): CsvRow[] {
  const rows: CsvRow[] = [];
  let at = 0;
  let line = 1;
  let lineStart = 0;
  const breakLine = () => {
    if (text[at] === "\r" && text[at + 1] === "\n") at++;
    at++;
    line++;
    lineStart = at;
  };
  const isBreak = () => text[at] === "\n" || text[at] === "\r";
  const fault = (place: Position, what: string, wanted: string) =>
    faults.add(place, "csv-syntax", `Cannot read the table: ${what}, wanted ${wanted}`);

  const quoted = (): string | undefined => {
    const start: Position = { line, column: at - lineStart + 1 };
    let cell = "";
    for (at++; at < text.length; ) {
      const end = text.indexOf('"', at);
      if (end < 0) break;
      for (let next = nextBreak(text, at); next < end; next = nextBreak(text, at)) {
        const from = at;
        at = next;
        breakLine();
        cell += text.slice(from, at);
      }
      cell += text.slice(at, end);
      at = end + 1;
      if (text[at] !== '"') return cell;
      cell += '"';
      at++;
    }
    fault(start, "a quote is never closed", "one at the end of the cell");
    return undefined;
  };

  while (at < text.length) {
    if (isBreak()) {
      breakLine();
      continue;
    }
    const row: CsvRow = { cells: [], at: { line, column: 1 } };
    for (;;) {
      if (text[at] === '"') {
        const cell = quoted();
        if (cell === undefined) return rows;
        row.cells.push(cell);
        if (at < text.length && text[at] !== "," && !isBreak()) {
          fault({ line, column: at - lineStart + 1 }, "text stands behind a closing quote", "a comma");
          return rows;
        }
      } else {
        const comma = text.indexOf(",", at);
        const end = Math.min(comma < 0 ? text.length : comma, nextBreak(text, at));
        row.cells.push(text.slice(at, end));
        at = end;
      }
      if (text[at] !== ",") break;
      at++;
    }
    rows.push(row);
  }
  return rows;
}

function nextBreak(text: string, from: number): number {
  for (let at = from; at < text.length; at++) if (text[at] === "\n" || text[at] === "\r") return at;
  return text.length;
}
