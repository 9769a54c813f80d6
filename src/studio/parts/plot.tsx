/**
 * A plot: curves and points over two axes, drawn for the room that there is. Points are links where they lead somewhere,
 * and can be walked through by the keyboard; what they say stands in their titles and in the table beside the plot.
 */
import type { Scale } from "../logic/scale.ts";
import { scaleOf } from "../logic/scale.ts";
import { useWidth } from "../use-width.ts";

export interface PlotPoint {
  x: number;
  y: number;
  low?: number;
  high?: number;
  /** All that there is to say of it. */
  title: string;
  href?: string;
  isMarked?: boolean;
}

export interface PlotSeries {
  name: string;
  points: readonly PlotPoint[];
  /** Joined by a line, in order. Default true. */
  isLine?: boolean;
}

/** A value to compare with, as a line across. */
export interface PlotReference {
  name: string;
  y: number;
}

export interface PlotProps {
  /** What a screen reader says of the whole. */
  label: string;
  xLabel: string;
  yLabel: string;
  series: readonly PlotSeries[];
  references?: readonly PlotReference[];
  yMin?: number;
  yMax?: number;
  formatX?: (value: number) => string;
  formatY?: (value: number) => string;
  height?: number;
}

const LEFT = 48;
const RIGHT = 14;
/** For the names of references, beside the plot. */
const NAMES = 64;
const TOP = 26;
const BOTTOM = 38;
const plain = (value: number) => String(value);

export function Plot(props: PlotProps) {
  const {
    label,
    xLabel,
    yLabel,
    series,
    references = [],
    height = 250,
    formatX = plain,
    formatY = plain,
  } = props;
  const [frame, width] = useWidth<HTMLDivElement>(420);
  const points = series.flatMap((each) => each.points);
  const end = width - (references.length > 0 ? NAMES : RIGHT);
  const y = scaleOf(
    [...points.flatMap(({ y, low, high }) => [low ?? y, high ?? y]), ...references.map((each) => each.y)],
    {
      ...{ from: height - BOTTOM, to: TOP, numTicks: 5 },
      ...(props.yMin === undefined ? {} : { min: props.yMin }),
      ...(props.yMax === undefined ? {} : { max: props.yMax }),
    },
  );
  const x = scaleOf(
    points.map((point) => point.x),
    { from: LEFT + 8, to: end - 6, numTicks: width < 360 ? 4 : 6 },
  );
  return (
    <div ref={frame}>
      <svg
        class="plot"
        width={width}
        height={height}
        viewBox={`0 0 ${width} ${height}`}
        role="group"
        aria-label={label}
      >
        <Grid x={x} y={y} end={end} height={height} formatX={formatX} formatY={formatY} />
        <text class="axis-name" x={end} y={height - 4} text-anchor="end">
          {xLabel}
        </text>
        <text class="axis-name" x={2} y={11}>
          {yLabel}
        </text>
        {placed(references, y).map(({ name, at, nameAt }) => (
          <g key={name} class="reference">
            <line x1={LEFT} x2={end} y1={at} y2={at} />
            <text x={end + 5} y={nameAt + 4}>
              {name}
            </text>
          </g>
        ))}
        {series.map((each, index) => (
          <Series key={each.name} series={each} tone={index % 6} x={x} y={y} />
        ))}
      </svg>
      {series.length > 1 && (
        <ul class="legend">
          {series.map(({ name }, index) => (
            <li key={name}>
              <svg class="swatch" viewBox="0 0 12 12" aria-hidden="true">
                <rect class={`fill-s${index % 6}`} width="12" height="12" rx="2" />
              </svg>
              {name}
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

const NAME_HEIGHT = 13;

/** References from the top, with names that do not stand on each other. */
function placed(
  references: readonly PlotReference[],
  y: Scale,
): { name: string; at: number; nameAt: number }[] {
  let next = Number.NEGATIVE_INFINITY;
  return references
    .map(({ name, y: value }) => ({ name, at: y.at(value) }))
    .sort((a, b) => a.at - b.at)
    .map(({ name, at }) => {
      const nameAt = Math.max(at, next);
      next = nameAt + NAME_HEIGHT;
      return { name, at, nameAt };
    });
}

interface GridProps {
  x: Scale;
  y: Scale;
  /** Where the lines end. */
  end: number;
  height: number;
  formatX: (value: number) => string;
  formatY: (value: number) => string;
}

function Grid({ x, y, end, height, formatX, formatY }: GridProps) {
  return (
    <g class="grid">
      {y.ticks.map((tick) => (
        <g key={tick}>
          <line x1={LEFT} x2={end} y1={y.at(tick)} y2={y.at(tick)} />
          <text x={LEFT - 6} y={y.at(tick) + 4} text-anchor="end">
            {formatY(tick)}
          </text>
        </g>
      ))}
      {x.ticks.map((tick) => (
        <text key={tick} x={x.at(tick)} y={height - BOTTOM + 16} text-anchor="middle">
          {formatX(tick)}
        </text>
      ))}
    </g>
  );
}

function Series({ series, tone, x, y }: { series: PlotSeries; tone: number; x: Scale; y: Scale }) {
  const { points, isLine = true } = series;
  const path = points
    .map((point, index) => `${index === 0 ? "M" : "L"}${x.at(point.x)} ${y.at(point.y)}`)
    .join("");
  return (
    <g class={`series tone-s${tone}`}>
      {isLine && points.length > 1 && <path class="curve" d={path} />}
      {points.map((point) => (
        <Dot key={`${point.x} ${point.title}`} point={point} x={x.at(point.x)} y={y} />
      ))}
    </g>
  );
}

function Dot({ point, x, y }: { point: PlotPoint; x: number; y: Scale }) {
  const { low, high, title, href, isMarked } = point;
  const at = y.at(point.y);
  const drawn = (
    <>
      <title>{title}</title>
      {low !== undefined && high !== undefined && (
        <path
          class="whisker"
          d={`M${x} ${y.at(low)}V${y.at(high)}M${x - 4} ${y.at(low)}h8M${x - 4} ${y.at(high)}h8`}
        />
      )}
      <circle class="target" cx={x} cy={at} r={12} />
      <circle class={isMarked ? "dot marked" : "dot"} cx={x} cy={at} r={isMarked ? 6 : 4.5} />
    </>
  );
  if (href === undefined) return <g aria-label={title}>{drawn}</g>;
  return (
    <a href={href} aria-label={title}>
      {drawn}
    </a>
  );
}
