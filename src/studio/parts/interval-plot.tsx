/** One figure of several runs, a line each, with their intervals: what a swap changes, group by group. */
import { figureWords, type Measure } from "../logic/figures.ts";
import { formatShare } from "../logic/format.ts";
import { useWidth } from "../use-width.ts";
import { type FrontPoint, runHref } from "./run-plots.tsx";

const ROW = 28;
const TOP = 8;
const AXIS = 24;
const RIGHT = 56;
const TICKS = [0, 0.25, 0.5, 0.75, 1];

export interface IntervalPlotProps {
  /** Of shares: from 0 to 1. */
  measure: Measure;
  points: readonly FrontPoint[];
  /** What all are held against: a line across. */
  reference?: FrontPoint | undefined;
}

export function IntervalPlot({ measure, points, reference }: IntervalPlotProps) {
  const [frame, width] = useWidth<HTMLDivElement>();
  const longest = Math.max(0, ...points.map(({ name }) => name.length));
  const left = Math.min(width * 0.42, 16 + longest * 7);
  const known = points.flatMap((point) => {
    const figure = measure.read(point.summary);
    return figure ? [{ ...point, figure }] : [];
  });
  const height = TOP + known.length * ROW + AXIS;
  const bottom = height - AXIS;
  const at = (share: number) => left + share * (width - left - RIGHT);
  const base = reference && measure.read(reference.summary);
  return (
    <div ref={frame}>
      <svg
        class="plot"
        width={width}
        height={height}
        viewBox={`0 0 ${width} ${height}`}
        role="group"
        aria-label={`${measure.title} of ${known.length} runs`}
      >
        <g class="grid">
          {TICKS.map((tick) => (
            <g key={tick}>
              <line x1={at(tick)} x2={at(tick)} y1={TOP} y2={bottom} />
              <text x={at(tick)} y={height - 6} text-anchor="middle">
                {Math.round(100 * tick)} %
              </text>
            </g>
          ))}
        </g>
        {base && (
          <g class="reference">
            <title>{`${reference.name}: ${figureWords(measure, reference.summary)}`}</title>
            <line x1={at(base.y)} x2={at(base.y)} y1={0} y2={bottom} />
          </g>
        )}
        {known.map(({ name, run, summary, figure }, index) => {
          const y = TOP + (index + 0.5) * ROW;
          const { low = figure.y, high = figure.y } = figure;
          const title = `${name}: ${measure.title.toLowerCase()} ${figureWords(measure, summary)}`;
          return (
            <a key={`${name} ${run}`} href={runHref(run)}>
              <title>{title}</title>
              <text x={left - 12} y={y + 4} text-anchor="end">
                {name}
              </text>
              <rect class="target" x={0} y={y - ROW / 2} width={width} height={ROW} />
              <path
                class="whisker tone-s0"
                d={`M${at(low)} ${y}H${at(high)}M${at(low)} ${y - 4}v8M${at(high)} ${y - 4}v8`}
              />
              <circle class="dot tone-s0" cx={at(figure.y)} cy={y} r={4.5} />
              <text x={width - RIGHT + 10} y={y + 4}>
                {formatShare(figure.y)}
              </text>
            </a>
          );
        })}
      </svg>
    </div>
  );
}
