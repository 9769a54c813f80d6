/** A child that is not written: its recipe, and what building it would take. */
import { useState } from "preact/hooks";
import type { CheckpointEntry } from "../../server/api.ts";
import { CodeView } from "../parts/code-view.tsx";
import { Fault, ProblemList, Waiting } from "../parts/notice.tsx";
import { Page } from "../parts/page.tsx";
import { PlanView } from "../parts/plan-view.tsx";
import { go, href } from "../router.ts";
import { engine, refresh } from "../state.ts";
import { useLoaded } from "../use-loaded.ts";

export function ChildPage({ entry }: { entry: CheckpointEntry }) {
  const { id, recipe, madeHere, place } = entry;
  const planning = useLoaded(
    async () => (recipe === undefined ? undefined : engine().plan(recipe)),
    [id, recipe],
  );
  const [fault, setFault] = useState<unknown>();
  const remove = async () => {
    try {
      await engine().removeChild(id);
      await refresh();
      go([]);
    } catch (error) {
      setFault(error);
    }
  };
  return (
    <Page
      title={id}
      lead={`A virtual child (${place}): assembled while it is loaded, and never written.`}
      above={{ label: "Checkpoints", href: href([]) }}
      actions={
        <>
          <a class="button" href={href(["talk"], { models: id })}>
            Talk
          </a>
          {recipe !== undefined && (
            <a class="button primary" href={href(["assemble"], { recipe: id })}>
              Edit and build
            </a>
          )}
          {madeHere && (
            <button type="button" onClick={() => void remove()}>
              Remove
            </button>
          )}
        </>
      }
    >
      <Fault error={fault} />
      {recipe === undefined ? (
        <p class="soft">It is served by its plan; there is no recipe to show.</p>
      ) : (
        <>
          <section aria-labelledby="plan">
            <h2 id="plan">Plan</h2>
            <Fault error={planning.error} title="There is no plan" />
            {!planning.value && !planning.error && <Waiting what="Planning" />}
            {planning.value &&
              ("plan" in planning.value ? (
                <PlanView plan={planning.value.plan} />
              ) : (
                <ProblemList problems={planning.value.problems} />
              ))}
          </section>
          <section aria-labelledby="recipe">
            <h2 id="recipe">Recipe</h2>
            <CodeView label="Recipe, YAML" text={recipe} />
          </section>
        </>
      )}
    </Page>
  );
}
