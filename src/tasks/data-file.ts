/**
 * A data file -> rows of fields, each with its place: JSON Lines, a JSON list of objects, or CSV.
 *
 * The name's ending decides between CSV and JSON, the first character between a list and lines: public dumps
 * call both of them .json.
 */
import { JsonFault, JsonScanner } from "../checkpoint/strict-json.ts";
import { isObject, type JsonObject } from "../text/json-file.ts";
import { START } from "../yaml/document.ts";
import type { Faults } from "../yaml/faults.ts";
import type { Position } from "../yaml/position.ts";
import { count, quote } from "../yaml/wording.ts";
import { readCsv } from "./csv.ts";
import { MAX_QUESTIONS } from "./vocabulary.ts";

export interface Row {
  fields: JsonObject;
  at: Position;
  /** What it is called that has no id: its line, in a JSON list its place from 1. */
  number: number;
}

export interface DataForm {
  /** Names of the columns of a CSV file that has no line of names; decides by its first row whether it has. */
  columns?: (firstRow: readonly string[]) => readonly string[] | undefined;
}

/** The rows of a file; undefined or fewer of them where faults were added. `name`: for the ending. */
export function readRows(bytes: Uint8Array, name: string, faults: Faults, form: DataForm = {}): Row[] {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    faults.add(START, "not-utf-8", `Cannot read the data: it is not valid UTF-8, wanted text`);
    return [];
  }
  const rows = /\.csv$/i.test(name)
    ? readTable(text, faults, form)
    : /^\s*\[/.test(text)
      ? readList(text, faults)
      : readLines(text, faults);
  if (rows.length > MAX_QUESTIONS) {
    const message = `Cannot read the data: it has ${count(rows.length, "row")}, wanted at most ${MAX_QUESTIONS}`;
    faults.add(START, "too-many-questions", message);
    return [];
  }
  return rows;
}

function readLines(text: string, faults: Faults): Row[] {
  const rows: Row[] = [];
  let line = 0;
  for (const [start, end] of lineRanges(text)) {
    line++;
    const content = text.slice(start, end);
    if (content.trim() === "") continue;
    const scanner = new JsonScanner(content);
    try {
      const value = scanner.skip();
      scanner.end();
      addRow(JSON.parse(value), { number: line, at: { line, column: 1 } }, { rows, faults });
    } catch (error) {
      addSyntaxFault(error, (offset) => ({ line, column: offset + 1 }), faults);
    }
  }
  return rows;
}

// Only "\n" ends a line: JSON texts may hold U+2028, and a "\r" before it is white space to JSON.
function* lineRanges(text: string): Generator<[number, number]> {
  for (let start = 0; start < text.length; ) {
    const found = text.indexOf("\n", start);
    const end = found < 0 ? text.length : found;
    yield [start, end];
    start = end + 1;
  }
}

function readList(text: string, faults: Faults): Row[] {
  const rows: Row[] = [];
  const place = placer(text);
  const scanner = new JsonScanner(text);
  try {
    scanner.array(MAX_QUESTIONS, (index) => {
      scanner.peek(); // passes over the space, so that the place is that of the value
      const at = place(scanner.offset);
      addRow(JSON.parse(scanner.skip()), { number: index + 1, at }, { rows, faults });
    });
    scanner.end();
  } catch (error) {
    addSyntaxFault(error, placer(text), faults);
  }
  return rows;
}

function readTable(text: string, faults: Faults, form: DataForm): Row[] {
  const table = readCsv(text, faults);
  const first = table[0];
  if (!first) return [];
  const given = form.columns?.(first.cells);
  const columns = given ?? first.cells.map((cell) => cell.trim());
  const twice = columns.find((column, index) => columns.indexOf(column) !== index);
  if (twice !== undefined) {
    faults.add(
      first.at,
      "duplicate-column",
      `Cannot read the table: two columns are called ${quote(twice)}, wanted one`,
    );
  }
  return table.slice(given ? 0 : 1).flatMap(({ cells, at }) => {
    if (cells.length === columns.length)
      return [
        {
          fields: Object.fromEntries(columns.map((column, index) => [column, cells[index]])),
          at,
          number: at.line,
        },
      ];
    const message = `Cannot read a row: it has ${count(cells.length, "cell")}, wanted ${columns.length} as the first row`;
    faults.add(at, "wrong-cells", message);
    return [];
  });
}

function addRow(
  value: unknown,
  { number, at }: { number: number; at: Position },
  { rows, faults }: { rows: Row[]; faults: Faults },
): void {
  if (isObject(value)) rows.push({ fields: value, at, number });
  else {
    const what = Array.isArray(value) ? "a list" : value === null ? "null" : `a ${typeof value}`;
    faults.add(at, "wrong-type", `Cannot read a row: it is ${what}, wanted an object of fields`);
  }
}

function addSyntaxFault(error: unknown, place: (offset: number) => Position, faults: Faults): void {
  if (!(error instanceof JsonFault)) throw error;
  faults.add(place(error.offset), "json-syntax", `Cannot read the data as JSON: ${error.message}`);
}

/** Line and column of offsets that are asked for in order. */
function placer(text: string): (offset: number) => Position {
  let line = 1;
  let start = 0;
  return (offset) => {
    for (let next = text.indexOf("\n", start); next >= 0 && next < offset; next = text.indexOf("\n", start)) {
      line++;
      start = next + 1;
    }
    return { line, column: offset - start + 1 };
  };
}
