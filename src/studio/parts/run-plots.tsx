/** Runs as plots: each measure over λ, and accuracy against tokens with the front of those that no other beats. */
import type { RunSummary, StudyPoint } from "../../server/api.ts";
import { figureWords, MEASURES, type Measure, measureOf, paretoFront } from "../logic/figures.ts";
import { href } from "../router.ts";
import { Plot, type PlotPoint, type PlotSeries } from "./plot.tsx";

const percent = (value: number) => `${Math.round(100 * value)} %`;

export function MeasureCurves({
  points,
  parents,
  axis,
}: {
  points: readonly StudyPoint[];
  parents: readonly StudyPoint[];
  axis: string;
}) {
  const curves = [...new Set(points.map(({ curve }) => curve ?? ""))];
  return (
    <div class="plots">
      {MEASURES.map((measure) => {
        const series = curves.map((curve): PlotSeries => {
          const own = points.filter((point) => (point.curve ?? "") === curve && point.x !== undefined);
          return { name: curve, points: own.flatMap((point) => pointOf(point, measure, axis)) };
        });
        const references = parents.flatMap(({ name, summary }) => {
          const figure = measure.read(summary);
          return figure ? [{ name, y: figure.y }] : [];
        });
        return (
          <figure key={measure.id} class="panel">
            <figcaption>
              <h3>{measure.title}</h3>
            </figcaption>
            <Plot
              label={`${measure.title} over λ of ${axis}, ${points.length} children`}
              xLabel={`λ of ${axis}`}
              yLabel={measure.label}
              series={series}
              references={references}
              yMin={0}
              {...(measure.isShare ? { yMax: 1, formatY: percent } : {})}
            />
          </figure>
        );
      })}
    </div>
  );
}

function pointOf({ x, run, summary }: StudyPoint, measure: Measure, axis: string): PlotPoint[] {
  const figure = measure.read(summary);
  if (!figure || x === undefined) return [];
  const title = `λ of ${axis} ${x}: ${measure.title.toLowerCase()} ${figureWords(measure, summary)}`;
  return [{ x, ...figure, title, href: runHref(run) }];
}

export interface FrontPoint {
  name: string;
  run: string;
  summary: RunSummary;
}

/** Accuracy against output tokens: up and to the left is better. */
export function FrontPlot({ points }: { points: readonly FrontPoint[] }) {
  const [accuracy, tokens] = [measureOf("accuracy"), measureOf("tokens")];
  const known = points.flatMap(({ name, run, summary }) => {
    const [x, y] = [tokens.read(summary)?.y, accuracy.read(summary)?.y];
    return x === undefined || y === undefined ? [] : [{ name, run, summary, x, y }];
  });
  if (known.length === 0) return <p class="soft">No run has both accuracy and tokens.</p>;
  const front = new Set(paretoFront(known));
  const drawn = known.map(({ name, run, summary, x, y }, index): PlotPoint => {
    const isMarked = front.has(index);
    const title = `${name}: accuracy ${figureWords(accuracy, summary)}; ${x.toFixed(1)} tokens${isMarked ? "; no other beats it" : ""}`;
    return { x, y, title, href: runHref(run), isMarked };
  });
  const series: PlotSeries[] = [
    {
      name: "no other is better in both",
      points: drawn.filter((_, index) => front.has(index)).sort((a, b) => a.x - b.x),
    },
    { name: "others", points: drawn.filter((_, index) => !front.has(index)), isLine: false },
  ];
  return (
    <Plot
      label={`Accuracy against output tokens of ${known.length} runs`}
      xLabel="output tokens, mean"
      yLabel="right answers"
      series={series.filter((each) => each.points.length > 0)}
      yMin={0}
      yMax={1}
      formatY={percent}
      height={300}
    />
  );
}

export function runHref(run: string): string {
  return href(["behaviour", "runs", run]);
}
