/**
 * A grid of numbers as colours: a canvas of one pixel a cell, which the browser scales without smoothing, so that 61 × 256
 * cells are as quick as 4 × 16. A cursor moves by arrow keys and by the mouse, and what it is on is said below; Enter or a
 * click opens the cell.
 */
import { useEffect, useRef, useState } from "preact/hooks";
import { type ColourScale, colourAt, greyOf } from "../logic/colours.ts";
import type { Grid } from "../logic/heat-grid.ts";
import { useWidth } from "../use-width.ts";

export interface HeatMapProps {
  label: string;
  grid: Grid;
  scale: ColourScale | undefined;
  /** Cells with nothing above it are grey. */
  delta: number;
  describe: (row: number, column: number) => string;
  onPick: (row: number, column: number) => void;
  /** Names stand upright above the columns; else every 2nd, 4th, 8th … is numbered. */
  hasNamedColumns?: boolean;
}

const LABELS = 56;
const MOST_CELL = 30;
const LEAST_LABEL = 13;

export function HeatMap(props: HeatMapProps) {
  const { label, grid, scale, delta, describe, onPick, hasNamedColumns = false } = props;
  const { rows, columns, cells } = grid;
  const [frame, width] = useWidth<HTMLDivElement>(600);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [at, setAt] = useState<{ row: number; column: number } | undefined>();
  const [hasFocus, setFocus] = useState(false);
  const cellWidth = Math.min(MOST_CELL, Math.max(1, (width - LABELS) / Math.max(1, columns.length)));
  const cellHeight = Math.max(8, Math.min(26, Math.floor(520 / Math.max(1, rows.length))));
  const [w, h] = [cellWidth * columns.length, cellHeight * rows.length];

  useEffect(() => {
    const context = canvas.current?.getContext("2d");
    if (!context || cells.length === 0) return;
    const image = new ImageData(columns.length, rows.length);
    for (const [index, cell] of cells.entries()) {
      if (!cell) continue;
      const isBelow = cell.max <= delta;
      const colour = cell.mean === 0 || !scale ? undefined : colourAt(scale.shareOf(cell.mean));
      const [red, green, blue] = colour ? (isBelow ? greyOf(colour) : colour) : [128, 128, 136];
      image.data.set([red, green, blue, colour ? (isBelow ? 130 : 255) : 60], index * 4);
    }
    context.putImageData(image, 0, 0);
  }, [grid, scale, delta, columns.length, rows.length]);

  const move = (row: number, column: number) =>
    setAt({
      row: Math.max(0, Math.min(rows.length - 1, row)),
      column: Math.max(0, Math.min(columns.length - 1, column)),
    });
  const onKeyDown = (event: KeyboardEvent) => {
    const { row, column } = at ?? { row: 0, column: 0 };
    const far = event.shiftKey ? 10 : 1;
    const steps: Record<string, () => void> = {
      ArrowUp: () => move(row - far, column),
      ArrowDown: () => move(row + far, column),
      ArrowLeft: () => move(row, column - far),
      ArrowRight: () => move(row, column + far),
      Home: () => move(row, 0),
      End: () => move(row, columns.length - 1),
      PageUp: () => move(0, column),
      PageDown: () => move(rows.length - 1, column),
      Enter: () => onPick(row, column),
      " ": () => onPick(row, column),
    };
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    step();
  };
  const cellOf = (event: MouseEvent) => {
    const { left, top } = canvas.current!.getBoundingClientRect();
    const [column, row] = [(event.clientX - left) / cellWidth, (event.clientY - top) / cellHeight];
    return { row: Math.floor(row), column: Math.floor(column) };
  };
  const rowEvery = powerFor(LEAST_LABEL / cellHeight);
  const columnEvery = powerFor(34 / cellWidth);
  return (
    <div ref={frame} class="heat">
      {hasNamedColumns && (
        <div class="heat-columns named" style={{ marginLeft: `${LABELS}px`, width: `${w}px` }}>
          {columns.map((name) => (
            <span key={name} style={{ width: `${cellWidth}px` }}>
              {name}
            </span>
          ))}
        </div>
      )}
      {!hasNamedColumns && (
        <div class="heat-columns" style={{ marginLeft: `${LABELS}px`, width: `${w}px` }} aria-hidden="true">
          {columns.map((name, index) =>
            index % columnEvery === 0 ? (
              <span key={name} class="tick" style={{ left: `${(index + 0.5) * cellWidth}px` }}>
                {name}
              </span>
            ) : null,
          )}
        </div>
      )}
      <div class="heat-body">
        <div class="heat-rows" aria-hidden="true" style={{ width: `${LABELS}px`, height: `${h}px` }}>
          {rows.map(({ name }, index) =>
            index === rows.length - 1 || (index % rowEvery === 0 && index + rowEvery < rows.length) ? (
              <span key={name} style={{ top: `${(index + 0.5) * cellHeight}px` }}>
                {name}
              </span>
            ) : null,
          )}
        </div>
        <div
          class="heat-cells"
          role="application"
          aria-roledescription="heat map"
          aria-label={`${label}, ${rows.length} × ${columns.length} cells. Arrow keys move, Enter opens a cell`}
          tabIndex={0}
          style={{ width: `${w}px`, height: `${h}px` }}
          onKeyDown={onKeyDown}
          onFocus={() => {
            setFocus(true);
            if (!at) setAt({ row: 0, column: 0 });
          }}
          onBlur={() => setFocus(false)}
          onMouseMove={(event) => {
            const { row, column } = cellOf(event);
            if (row !== at?.row || column !== at?.column) move(row, column);
          }}
          onClick={(event) => {
            const { row, column } = cellOf(event);
            onPick(
              Math.max(0, Math.min(rows.length - 1, row)),
              Math.max(0, Math.min(columns.length - 1, column)),
            );
          }}
        >
          <canvas
            ref={canvas}
            width={columns.length}
            height={rows.length}
            style={{ width: `${w}px`, height: `${h}px` }}
          />
          {at && (
            <div
              class={hasFocus ? "heat-cursor focused" : "heat-cursor"}
              style={{
                left: `${at.column * cellWidth}px`,
                top: `${at.row * cellHeight}px`,
                width: `${cellWidth}px`,
                height: `${cellHeight}px`,
              }}
            />
          )}
        </div>
      </div>
      <p class="heat-readout" aria-live="polite">
        {at ? describe(at.row, at.column) : "Point at a cell, or move by arrow keys."}
      </p>
    </div>
  );
}

/** The power of two that is not below it. */
function powerFor(least: number): number {
  return 2 ** Math.max(0, Math.ceil(Math.log2(least)));
}
