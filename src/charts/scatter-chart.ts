/** Points of two objectives, and of each series the front: what none of its other points beats. */
import { type AxisSpec, drawAxes, drawNothing, type Plot, type Scale, scaleOf } from "./axis.ts";
import { NUM_SERIES } from "./palette.ts";
import { fittedText, frame, heading, legend, marker, round, telling, widthOf } from "./svg.ts";

export interface ScatterPoint {
  x: number;
  y: number;
  isOnFront?: boolean;
  /** Beside the point. */
  label?: string;
  title?: string;
  href?: string;
}

export interface ScatterChartSpec {
  title: string;
  description?: string;
  x: AxisSpec;
  y: AxisSpec;
  series: readonly { name: string; points: readonly ScatterPoint[] }[];
  width?: number;
  height?: number;
}

/** Less x and more y is better, as for cost and gain. */
export function scatterChart(spec: ScatterChartSpec): string {
  const { title, description, series, width = 720, height = 420 } = spec;
  const head = legend(series.length > 1 ? series.map(({ name }) => name) : [], {
    x: 70,
    y: 52,
    width: width - 100,
  });
  const plot: Plot = { left: 70, right: width - 40, top: 44 + head.height, bottom: height - 56 };
  const points = series.flatMap((one) => one.points.filter(isKnown));
  const x = scaleOf(
    spec.x,
    points.map((point) => point.x),
    { from: plot.left, to: plot.right, count: 8 },
  );
  const y = scaleOf(
    spec.y,
    points.map((point) => point.y),
    { from: plot.bottom, to: plot.top },
  );
  const hasLinks = points.some(({ href }) => href !== undefined);
  return frame({ title, width, height, hasLinks, ...(description === undefined ? {} : { description }) }, [
    heading(title, width),
    ...head.parts,
    ...drawAxes(plot, { scale: x, label: spec.x.label }, { scale: y, label: spec.y.label }),
    ...series.flatMap(({ points: some }, index) => drawFront(some, index, { x, y, plot })),
    ...series.flatMap(({ points: some }, index) =>
      some.filter(isKnown).flatMap(({ label, title: told, href, ...point }) => {
        const [left, top] = [x.at(point.x), y.at(point.y)];
        const mark = telling(marker(index, left, top, point.isOnFront ? 5 : 3), told, href);
        if (label === undefined) return [mark];
        // Beside the point, on the side that has room.
        const [before, behind] = [left - 8, width - left - 16];
        const isBehind = widthOf(label) <= behind || behind > before;
        const attributes = `class="soft"${isBehind ? "" : ' text-anchor="end"'}`;
        const place = { width: isBehind ? behind : before, attributes };
        return [mark, fittedText(isBehind ? left + 8 : left - 8, top - 7, label, place)];
      }),
    ),
    ...(points.length === 0 ? [drawNothing(plot)] : []),
  ]);
}

function isKnown({ x, y }: ScatterPoint): boolean {
  return Number.isFinite(x) && Number.isFinite(y);
}

/** Steps: between two points of a front there is what the cheaper one gives. */
function drawFront(
  points: readonly ScatterPoint[],
  index: number,
  { x, y, plot }: { x: Scale; y: Scale; plot: Plot },
): string[] {
  const front = points.filter((point) => isKnown(point) && point.isOnFront).sort((a, b) => a.x - b.x);
  if (front.length === 0) return [];
  const path = front
    .map((point, i) => {
      const [left, top] = [round(x.at(point.x)), round(y.at(point.y))];
      return i === 0 ? `M${left} ${top}` : `H${left}V${top}`;
    })
    .join("");
  return [`<path class="line l${index % NUM_SERIES}" d="${path}H${round(plot.right)}"/>`];
}
