/** Curves over an axis, with bands of uncertainty, and horizontal lines for what they are held against. */
import { type AxisSpec, drawAxes, drawNothing, type Plot, type Scale, scaleOf } from "./axis.ts";
import { NUM_SERIES } from "./palette.ts";
import { fittedText, frame, heading, legend, line, marker, round, telling, whisker, widthOf } from "./svg.ts";

export interface ChartPoint {
  x: number;
  y: number;
  /** Of an interval around y. */
  low?: number;
  high?: number;
  /** Shown when one points at it. */
  title?: string;
  href?: string;
}

export interface ChartSeries {
  name: string;
  points: readonly ChartPoint[];
}

export interface LineChartSpec {
  title: string;
  description?: string;
  x: AxisSpec;
  y: AxisSpec;
  series: readonly ChartSeries[];
  /** Dashed lines across: the parents of the children on the curve. */
  references?: readonly { name: string; y: number }[];
  width?: number;
  height?: number;
}

const LINE = 16;

export function lineChart(spec: LineChartSpec): string {
  const { title, description, series, references = [], width = 720, height = 380 } = spec;
  const known = references.filter(({ y }) => Number.isFinite(y));
  const room = Math.min(
    known.reduce((most, { name }) => Math.max(most, widthOf(name)), 0),
    width / 4,
  );
  const names = series.length > 1 ? series.map(({ name }) => name) : [];
  const head = legend(names, { x: 70, y: 52, width: width - 100 });
  const plot: Plot = {
    left: 70,
    right: width - 24 - (room > 0 ? room + 8 : 0),
    top: 44 + head.height,
    bottom: height - 56,
  };
  const points = series.flatMap((one) => one.points.filter(isKnown));
  const x = scaleOf(
    spec.x,
    points.map((point) => point.x),
    { from: plot.left, to: plot.right, count: 10 },
  );
  const heights = points.flatMap(({ y, low = y, high = y }) => [y, low, high]);
  const y = scaleOf(spec.y, [...heights, ...known.map((one) => one.y)], { from: plot.bottom, to: plot.top });
  const hasLinks = points.some(({ href }) => href !== undefined);
  return frame({ title, width, height, hasLinks, ...(description === undefined ? {} : { description }) }, [
    heading(title, width),
    ...head.parts,
    ...drawAxes(plot, { scale: x, label: spec.x.label }, { scale: y, label: spec.y.label }),
    ...drawReferences(known, { plot, y, right: width - 8 }),
    ...series.flatMap((one, index) => drawSeries(one, index, { x, y })),
    ...(points.length === 0 ? [drawNothing(plot)] : []),
  ]);
}

function isKnown({ x, y }: ChartPoint): boolean {
  return Number.isFinite(x) && Number.isFinite(y);
}

/** Lines with their names at the right edge, moved apart where they would lie on each other. */
function drawReferences(
  references: readonly { name: string; y: number }[],
  { plot, y, right }: { plot: Plot; y: Scale; right: number },
): string[] {
  const placed = [...references].sort((a, b) => b.y - a.y).map((one) => ({ ...one, at: y.at(one.y) }));
  const labels = placed.map(({ at }) => at);
  for (let i = 1; i < labels.length; i++) labels[i] = Math.max(labels[i]!, labels[i - 1]! + LINE);
  // Pushed beyond the plot, they would lie on the numbers of the axis below: back up again.
  let lowest = plot.bottom;
  for (let i = labels.length - 1; i >= 0; i--) {
    labels[i] = Math.min(labels[i]!, lowest);
    lowest = labels[i]! - LINE;
  }
  const attributes = 'class="soft"';
  return placed.flatMap(({ name, at }, i) => [
    line(plot.left, at, plot.right, at, "reference"),
    fittedText(plot.right + 8, labels[i]! + 4, name, { width: right - plot.right - 8, attributes }),
  ]);
}

function drawSeries({ points }: ChartSeries, index: number, { x, y }: { x: Scale; y: Scale }): string[] {
  const known = points.filter(isKnown).sort((a, b) => a.x - b.x);
  const at = (point: { x: number; y: number }) => `${round(x.at(point.x))} ${round(y.at(point.y))}`;
  const number = index % NUM_SERIES;
  const banded = known.filter(({ low, high }) => Number.isFinite(low) && Number.isFinite(high));
  const upper = banded.map((point) => at({ x: point.x, y: point.high! }));
  const lower = banded.map((point) => at({ x: point.x, y: point.low! })).reverse();
  return [
    ...(banded.length > 1 ? [`<path class="band f${number}" d="M${[...upper, ...lower].join("L")}z"/>`] : []),
    ...(known.length > 1 ? [`<path class="line l${number}" d="M${known.map(at).join("L")}"/>`] : []),
    // An interval alone makes no band.
    ...(banded.length === 1 ? banded : []).flatMap((point) => {
      const middle = x.at(point.x);
      return whisker(middle, y.at(point.low!), middle, y.at(point.high!));
    }),
    ...known.map((point) => telling(marker(index, x.at(point.x), y.at(point.y)), point.title, point.href)),
  ];
}
