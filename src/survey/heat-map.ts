/**
 * One heat map as SVG: a grid of cells with rows that the caller has placed, and its legend.
 *
 * Up to a few thousand cells each is an element with a title of its own, for hovering. Beyond that, the cells
 * of a row that share a level of colour become one path, and its title lists them: 62 layers × 256 experts are
 * then some 1,500 elements instead of 16,000, at the price of a range where there was a number.
 */
import { escapeXml } from "../charts/svg.ts";
import { type ColourScale, colourScale } from "./colour-scale.ts";

export interface HeatCell {
  row: number;
  column: number;
  /** 0: no difference. May be infinite. */
  value: number;
  title: string;
}

export interface HeatMap {
  heading: string;
  /** Left edge of the grid. */
  x: number;
  cellWidth: number;
  numColumns: number;
  /** Rows from the first that the map shows. */
  numRows: number;
  cells: readonly HeatCell[];
  /** What a group of cells is called, for its title. */
  describe: (row: number, columns: readonly number[], values: readonly number[]) => string;
}

/** Top and height of each row of the grid. */
export interface Rows {
  tops: readonly number[];
  height: number;
}

const MOST_SINGLE_CELLS = 4000;
/** Eight pixels for each of 32 colours: seams would show elsewhere. */
export const LEGEND_WIDTH = 256;
const LEGEND_HEIGHT = 10;

export function scaleOf({ cells }: HeatMap): ColourScale | undefined {
  return colourScale(cells.map(({ value }) => value));
}

/** The cells. Classes `same` and those of the page are styled by the document. */
export function drawCells(map: HeatMap, rows: Rows, scale: ColourScale | undefined): string[] {
  const { x, cellWidth, cells, describe } = map;
  const isSingle = cells.length <= MOST_SINGLE_CELLS;
  const groups = new Map<string, HeatCell[]>();
  for (const cell of cells) {
    const level = cell.value === 0 ? "same" : scale!.levelOf(cell.value);
    const key = isSingle ? `${cell.row}/${level}/${cell.column}` : `${cell.row}/${level}`;
    const group = groups.get(key);
    if (group) group.push(cell);
    else groups.set(key, [cell]);
  }
  // Cells large enough to tell apart get a hairline between them.
  const gap = { x: cellWidth >= 10 ? 1 : 0, y: rows.height >= 10 ? 1 : 0 };
  return [...groups.values()].map((group) => {
    const { row, value, title } = group[0]!;
    const columns = group.map(({ column }) => column).sort((a, b) => a - b);
    const height = rows.height - gap.y;
    const path = runsOf(columns).map(([first, last]) => {
      const width = (last - first + 1) * cellWidth - gap.x;
      return `M${x + first * cellWidth} ${rows.tops[row]}h${width}v${height}h${-width}z`;
    });
    const fill = value === 0 ? 'class="same"' : `fill="${scale!.colours[scale!.levelOf(value)]}"`;
    const text =
      group.length === 1
        ? title
        : describe(
            row,
            columns,
            group.map((cell) => cell.value),
          );
    return `<path ${fill} d="${path.join("")}"><title>${escapeXml(text)}</title></path>`;
  });
}

/** The scale with its numbers, and what has no number: no difference, no such tensor. */
export function drawLegend(x: number, y: number, scale: ColourScale | undefined, unit: string): string[] {
  const parts: string[] = [];
  let top = y;
  if (scale) {
    const width = LEGEND_WIDTH / scale.colours.length;
    for (const [level, colour] of scale.colours.entries()) {
      const [left, right] = [level * width, (level + 1) * width].map(
        (edge) => x + Math.round(edge * 10) / 10,
      );
      parts.push(`<path fill="${colour}" d="M${left} ${top}H${right}V${top + LEGEND_HEIGHT}H${left}z"/>`);
    }
    for (const { position, label } of scale.ticks) {
      const at = x + position * LEGEND_WIDTH;
      const anchor = position === 0 ? "start" : position === 1 ? "end" : "middle";
      parts.push(`<path class="line" d="M${at} ${top + LEGEND_HEIGHT}v4"/>`);
      parts.push(text(at, top + LEGEND_HEIGHT + 16, label, `class="small" text-anchor="${anchor}"`));
    }
    const how = scale.isLogarithmic ? `${unit}, logarithmic` : unit;
    parts.push(text(x, top - 7, how, 'class="small"'));
    top += LEGEND_HEIGHT + 28;
  }
  parts.push(
    `<path class="same" d="M${x} ${top}h12v10h-12z"/>`,
    text(x + 18, top + 9, "no difference", 'class="small"'),
  );
  parts.push(`<path class="frame" d="M${x + 110} ${top}h12v10h-12z"/>`);
  parts.push(text(x + 128, top + 9, "no such tensor", 'class="small"'));
  return parts;
}

/** [3, 4, 5, 9] -> [3, 5] and [9, 9]. */
export function runsOf(sorted: readonly number[]): [first: number, last: number][] {
  const runs: [number, number][] = [];
  for (const value of sorted) {
    const run = runs.at(-1);
    if (run && run[1] === value - 1) run[1] = value;
    else runs.push([value, value]);
  }
  return runs;
}

export function text(x: number, y: number, content: string, attributes = ""): string {
  return `<text x="${x}" y="${y}" ${attributes}>${escapeXml(content)}</text>`;
}
