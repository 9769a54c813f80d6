/** One sweep, search or ablation: its curves, its front, and every point with its run. */
import type { StudyDetails } from "../../server/api.ts";
import { measureOf } from "../logic/figures.ts";
import { IntervalPlot } from "../parts/interval-plot.tsx";
import { Fault, Waiting } from "../parts/notice.tsx";
import { Page } from "../parts/page.tsx";
import { FrontPlot, MeasureCurves } from "../parts/run-plots.tsx";
import { RunTable } from "../parts/run-table.tsx";
import { href } from "../router.ts";
import { engine } from "../state.ts";
import { useLoaded } from "../use-loaded.ts";

const LEADS = {
  sweep: "Children along λ, none of them written. Parents are the lines across.",
  search: "Children that a search has tried, for accuracy at few tokens.",
  ablation: "One group of tensors at a time from the other parent.",
};

export function StudyPage({ id }: { id: string }) {
  const { value, error } = useLoaded(() => engine().study(id), [id]);
  return (
    <Page
      title={value ? (value.entry.place.split("/").at(-1) ?? "Study") : "Study"}
      lead={value ? LEADS[value.entry.kind] : undefined}
      above={{ label: "Behaviour", href: href(["behaviour"]) }}
    >
      <Fault error={error} title="The study cannot be shown" />
      {!value && !error && <Waiting what="Reading the study" />}
      {value && <Study study={value} />}
    </Page>
  );
}

function Study({ study: { points, parents, axis, entry } }: { study: StudyDetails }) {
  return (
    <>
      {entry.kind === "sweep" && axis !== undefined && (
        <section aria-labelledby="curves">
          <h2 id="curves">Over λ of {axis}</h2>
          <p class="soft">Whiskers are 95 % intervals (Wilson). Each point leads to its answers.</p>
          <MeasureCurves points={points} parents={parents} axis={axis} />
        </section>
      )}
      {entry.kind === "ablation" && (
        <section aria-labelledby="swaps">
          <h2 id="swaps">Accuracy without one group</h2>
          <p class="soft">
            Each line is the child with one group of the other parent; the line across is the child itself.
            Whiskers are 95 % intervals (Wilson).
          </p>
          <div class="panel">
            <IntervalPlot measure={measureOf("accuracy")} points={points} reference={parents[0]} />
          </div>
        </section>
      )}
      <section aria-labelledby="front">
        <h2 id="front">Accuracy against tokens</h2>
        <div class="panel">
          <FrontPlot points={[...parents, ...points]} />
        </div>
      </section>
      <section aria-labelledby="points">
        <h2 id="points">All points</h2>
        <RunTable
          label="Points of the study"
          lines={[
            ...parents.map((parent, index) => ({
              ...parent,
              note: entry.kind === "ablation" && index === 0 ? "the child" : "parent",
            })),
            ...points,
          ]}
        />
      </section>
    </>
  );
}
