/** What is here: checkpoints, and children that are not written. */
import type { CheckpointEntry } from "../../server/api.ts";
import { formatBytes, formatCount, formatLarge } from "../logic/format.ts";
import { Page } from "../parts/page.tsx";
import { href } from "../router.ts";
import { checkpoints, info } from "../state.ts";

export function CheckpointsPage() {
  const entries = checkpoints.value ?? [];
  const stored = entries.filter(({ kind }) => kind === "checkpoint");
  const children = entries.filter(({ kind }) => kind === "child");
  const [base, other] = stored;
  return (
    <Page
      title="Checkpoints"
      lead="Parents to take from, and the children that recipes make of them."
      actions={
        <>
          {base && other && (
            <a class="button" href={href(["compare"], { base: base.id, other: other.id })}>
              Compare two
            </a>
          )}
          <a class="button primary" href={href(["assemble"])}>
            Assemble a child
          </a>
        </>
      }
    >
      <section aria-labelledby="stored">
        <h2 id="stored">On disk</h2>
        {stored.length === 0 && <p class="soft">No checkpoint is served.</p>}
        <ul class="cards">
          {stored.map((entry) => (
            <li key={entry.id}>
              <Card entry={entry} />
            </li>
          ))}
        </ul>
      </section>
      {children.length > 0 && (
        <section aria-labelledby="virtual">
          <h2 id="virtual">Virtual children</h2>
          <p class="soft">Assembled while they are loaded; nothing of them is written.</p>
          <ul class="cards">
            {children.map((entry) => (
              <li key={entry.id}>
                <Card entry={entry} />
              </li>
            ))}
          </ul>
        </section>
      )}
      {info.value && (
        <p class="soft foot">
          Chimera {info.value.version}
          {info.value.builds ? ` · children are built in ${info.value.builds}` : ""}
        </p>
      )}
    </Page>
  );
}

function Card({ entry }: { entry: CheckpointEntry }) {
  const { id, kind, state, place, bytes, tensors, parameters, architecture } = entry;
  return (
    <article class="card">
      <h3>
        <a class="cover" href={href(["checkpoints", id])}>
          {id}
        </a>
        <State state={state} />
      </h3>
      <p class="soft">{architecture ?? (kind === "child" ? "from a recipe" : "cannot be read")}</p>
      {parameters !== undefined && bytes !== undefined && tensors !== undefined ? (
        <dl class="facts">
          <div>
            <dt>Parameters</dt>
            <dd>{formatLarge(parameters)}</dd>
          </div>
          <div>
            <dt>Size</dt>
            <dd>{formatBytes(bytes)}</dd>
          </div>
          <div>
            <dt>Tensors</dt>
            <dd>{formatCount(tensors)}</dd>
          </div>
        </dl>
      ) : null}
      <p class="card-foot">
        <span class="mono soft">{place}</span>
        <a href={href(["talk"], { models: id })} aria-label={`Talk to ${id}`}>
          Talk
        </a>
      </p>
    </article>
  );
}

export function State({ state }: { state: CheckpointEntry["state"] }) {
  if (state === "unloaded") return null;
  return <span class={`badge ${state}`}>{state === "ready" ? "in memory" : "loading"}</span>;
}
