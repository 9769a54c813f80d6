/** What children inherited: evaluations and studies that lie in the folders of runs. */
import type { RunsList } from "../../server/api.ts";
import { Fault, Waiting } from "../parts/notice.tsx";
import { Page } from "../parts/page.tsx";
import { FrontPlot } from "../parts/run-plots.tsx";
import { RunTable } from "../parts/run-table.tsx";
import { href } from "../router.ts";
import { engine, info } from "../state.ts";
import { useLoaded } from "../use-loaded.ts";

const KINDS = { sweep: "Sweep", search: "Search", ablation: "Ablation" };

export function BehaviourPage() {
  const { value, error } = useLoaded(() => engine().runs(), []);
  return (
    <Page
      title="Behaviour"
      lead="Accuracy, tokens, thinking and refusals of parents and children on the same questions."
    >
      <Fault error={error} title="Runs cannot be listed" />
      {!value && !error && <Waiting what="Looking for runs" />}
      {value && <Found {...value} />}
    </Page>
  );
}

function Found({ runs, studies }: RunsList) {
  if (runs.length === 0 && studies.length === 0) return <Nothing />;
  const single = runs.filter(({ study }) => study === undefined);
  const complete = runs.flatMap(({ id, name, summary }) => (summary ? [{ name, run: id, summary }] : []));
  return (
    <>
      {studies.length > 0 && (
        <section aria-labelledby="studies">
          <h2 id="studies">Studies</h2>
          <ul class="cards">
            {studies.map(({ id, kind, place }) => (
              <li key={id}>
                <article class="card">
                  <h3>
                    <a class="cover" href={href(["behaviour", "studies", id])}>
                      {place.split("/").at(-1)}
                    </a>
                    <span class="badge">{KINDS[kind]}</span>
                  </h3>
                  <p class="soft">{runs.filter(({ study }) => study === id).length} runs</p>
                  <p class="card-foot mono soft">{place}</p>
                </article>
              </li>
            ))}
          </ul>
        </section>
      )}
      <section aria-labelledby="front">
        <h2 id="front">Accuracy against tokens</h2>
        <p class="soft">All runs. Those on the line are beaten by no other; each leads to its answers.</p>
        <div class="panel">
          <FrontPlot points={complete} />
        </div>
      </section>
      {single.length > 0 && (
        <section aria-labelledby="runs">
          <h2 id="runs">Single runs</h2>
          <RunTable
            label="Single runs"
            lines={single.map(({ id, name, summary, place, complete: isComplete }) => ({
              ...{ name, run: id, summary },
              note: isComplete ? place : `${place}, not complete`,
            }))}
          />
        </section>
      )}
    </>
  );
}

function Nothing() {
  return (
    <section aria-label="No runs">
      <p>
        {info.value?.hasRuns ? "No run lies in the folders that were named." : "No folder of runs was named."}
      </p>
      <p class="soft">
        <code>chimera sweep recipes/mini/r1t.yaml --lambda r1=0:1:0.1 -o runs/sweep</code> makes some,{" "}
        <code>chimera serve … --runs runs</code> shows them here.
      </p>
    </section>
  );
}
