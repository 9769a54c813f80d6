/** One evaluation: its figures, and every answer. */
import { useState } from "preact/hooks";
import type { EvalRecord, RunDetails, RunSummary } from "../../server/api.ts";
import { figureText, MEASURES, type Measure } from "../logic/figures.ts";
import { formatCount, formatShare } from "../logic/format.ts";
import { Fault, Waiting } from "../parts/notice.tsx";
import { Page } from "../parts/page.tsx";
import { Choice } from "../parts/tensor-table.tsx";
import { address, href, setQuery } from "../router.ts";
import { engine } from "../state.ts";
import { useLoaded } from "../use-loaded.ts";

const PAGE = 20;
const ONLY = ["right", "wrong", "refused", "thinking"];

export function RunPage({ id }: { id: string }) {
  const { value, error } = useLoaded(() => engine().run(id), [id]);
  const study = value?.entry.study;
  const above =
    study === undefined
      ? { label: "Behaviour", href: href(["behaviour"]) }
      : { label: "The study", href: href(["behaviour", "studies", study]) };
  return (
    <Page title={value?.entry.name ?? "Run"} lead={value ? leadOf(value) : undefined} above={above}>
      <Fault error={error} title="The run cannot be shown" />
      {!value && !error && <Waiting what="Reading the run" />}
      {value && <Run id={id} details={value} />}
    </Page>
  );
}

function leadOf({ entry, config }: RunDetails): string {
  const date = entry.startedAt.slice(0, 16).replace("T", " ");
  return `${formatCount(config.numQuestions)} questions, seed ${config.settings.seed}, ${date} UTC, ${config.machine.cpu}`;
}

function Run({ id, details }: { id: string; details: RunDetails }) {
  const { entry, topics, tasks } = details;
  const { query } = address.value;
  const [task, topic, only] = ["task", "topic", "only"].map((key) => query.get(key) ?? "") as [
    string,
    string,
    string,
  ];
  return (
    <>
      {entry.summary && (
        <section aria-labelledby="figures">
          <h2 id="figures">Figures</h2>
          <dl class="facts wide">
            {MEASURES.map((measure) => (
              <div key={measure.id}>
                <dt>{measure.title}</dt>
                <dd>
                  {figureText(measure, entry.summary)}
                  <span class="fact-note">{intervalOf(measure, entry.summary!)}</span>
                </dd>
              </div>
            ))}
          </dl>
        </section>
      )}
      <section aria-labelledby="answers">
        <h2 id="answers">Answers</h2>
        <div class="filters" role="search" aria-label="Answers">
          <Choice label="Only" value={only} values={ONLY} onChange={(value) => setQuery({ only: value })} />
          <Choice
            label="Topic"
            value={topic}
            values={topics}
            onChange={(value) => setQuery({ topic: value })}
          />
          {tasks.length > 1 && (
            <Choice
              label="Task"
              value={task}
              values={tasks}
              onChange={(value) => setQuery({ task: value })}
            />
          )}
        </div>
        <Records key={JSON.stringify([id, task, topic, only])} id={id} filter={{ task, topic, only }} />
      </section>
    </>
  );
}

function Records({ id, filter }: { id: string; filter: { task: string; topic: string; only: string } }) {
  const [offset, setOffset] = useState(0);
  const { value, error } = useLoaded(
    () => engine().records(id, { ...filter, offset, limit: PAGE }),
    [offset],
  );
  if (error) return <Fault error={error} />;
  if (!value) return <Waiting what="Reading answers" />;
  const { total, records } = value;
  const last = Math.min(total, offset + PAGE);
  return (
    <>
      <p class="soft" role="status">
        {total === 0
          ? "No answer is like that."
          : `${formatCount(offset + 1)} to ${formatCount(last)} of ${formatCount(total)} answers`}
      </p>
      <ol class="records" start={offset + 1}>
        {records.map((record) => (
          <li key={`${record.task} ${record.id}`}>
            <Answer record={record} />
          </li>
        ))}
      </ol>
      {total > PAGE && (
        <nav class="pager" aria-label="Pages of answers">
          <button type="button" disabled={offset === 0} onClick={() => setOffset(offset - PAGE)}>
            Earlier
          </button>
          <button type="button" disabled={last >= total} onClick={() => setOffset(offset + PAGE)}>
            Later
          </button>
        </nav>
      )}
    </>
  );
}

function Answer({ record }: { record: EvalRecord }) {
  const { turns, wanted, reasoning, content, correct, refused, tokens, topic, finish } = record;
  return (
    <article class="record">
      <header>
        <h3>{turns.at(-1)}</h3>
        <span class="badges">
          {correct !== null && (
            <span class={`badge ${correct ? "right" : "wrong"}`}>{correct ? "right" : "wrong"}</span>
          )}
          {refused && <span class="badge">refusal</span>}
          {finish === "length" && <span class="badge">cut off</span>}
        </span>
      </header>
      {reasoning !== "" && (
        <details class="fold">
          <summary>Thinking</summary>
          <p class="thoughts">{reasoning}</p>
        </details>
      )}
      <p class="record-answer">{content === "" ? <span class="soft">(no answer)</span> : content}</p>
      <p class="soft small">
        {topic}
        {wanted.length > 0 && ` · wanted ${wanted.join(" or ")}`}
        {tokens !== null && ` · ${formatCount(tokens)} tokens`}
      </p>
    </article>
  );
}

/** The 95 % interval, where there is one. */
function intervalOf({ read }: Measure, summary: RunSummary): string {
  const { low, high } = read(summary) ?? {};
  return low === undefined || high === undefined ? "mean" : `${formatShare(low)} to ${formatShare(high)}`;
}
