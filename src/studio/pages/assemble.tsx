/** A recipe, as a form and as YAML, with the plan that follows from it; and the start of its build. */
import { useEffect, useState } from "preact/hooks";
import type { RecipeForm } from "../../server/api.ts";
import {
  fault,
  isPlanning,
  loadWords,
  planning,
  problems,
  recipeForm,
  recipeText,
  setForm,
  setText,
  words,
} from "../assemble-state.ts";
import { BuildList } from "../parts/build-list.tsx";
import { CodeEditor } from "../parts/code-editor.tsx";
import { Fault, Waiting } from "../parts/notice.tsx";
import { Page } from "../parts/page.tsx";
import { PlanView } from "../parts/plan-view.tsx";
import { RecipeFields } from "../parts/recipe-form.tsx";
import { StartBuild } from "../parts/start-build.tsx";
import { address, go } from "../router.ts";
import { checkpoints, engine } from "../state.ts";

export function AssemblePage() {
  const { query } = address.value;
  const [error, setError] = useState<unknown>();
  useEffect(() => {
    loadWords().catch(setError);
    open(query)
      .then((text) => {
        if (text !== undefined) setText(text, { atOnce: true });
      })
      .catch(setError);
  }, [query.toString()]);
  const form = recipeForm.value;
  return (
    <Page title="Assemble" lead="Say which tensors come from which parent; see what follows, then build it.">
      <Fault error={error ?? fault.value} />
      <StartFrom />
      <div class="assemble">
        <div class="assemble-form">
          <h2>Form</h2>
          {form && words.value ? (
            <RecipeFields form={form} words={words.value} onChange={setForm} />
          ) : (
            !error && problems.value.length === 0 && <Waiting what="Reading the recipe" />
          )}
        </div>
        <div class="assemble-text">
          <h2>Recipe</h2>
          <CodeEditor
            label="Recipe, YAML"
            value={recipeText.value}
            problems={problems.value}
            onInput={setText}
          />
          <p class="soft small">What is changed in the form is written without the comments.</p>
        </div>
        <section class="assemble-plan" aria-labelledby="plan-title">
          <h2 id="plan-title">Plan</h2>
          <Plan />
        </section>
      </div>
      <BuildList />
    </Page>
  );
}

function Plan() {
  const now = planning.value;
  const hasPlan = now !== undefined && "plan" in now;
  return (
    <>
      <p class="soft small" role="status">
        {isPlanning.value
          ? "Planning …"
          : hasPlan
            ? "As the recipe stands."
            : problems.value.length > 0
              ? "No plan: the recipe has faults."
              : ""}
      </p>
      {hasPlan && <PlanView plan={now.plan} />}
      <StartBuild isReady={hasPlan && !isPlanning.value && problems.value.length === 0} />
    </>
  );
}

/** Recipes that are here, and new ones of two parents. */
function StartFrom() {
  const entries = checkpoints.value ?? [];
  const children = entries.filter(({ recipe }) => recipe !== undefined);
  const stored = entries.filter(({ kind }) => kind === "checkpoint");
  const [base, other] = [stored[0]?.id, stored[1]?.id];
  return (
    <div class="filters" role="group" aria-label="Begin with">
      <label class="field">
        <span>Begin with a recipe</span>
        <select
          value={address.value.query.get("recipe") ?? ""}
          onChange={(event) => go(["assemble"], { recipe: event.currentTarget.value })}
        >
          <option value="">choose …</option>
          {children.map(({ id }) => (
            <option key={id} value={id}>
              {id}
            </option>
          ))}
        </select>
      </label>
      {base && other && (
        <form
          class="filters tight"
          onSubmit={(event) => {
            event.preventDefault();
            const data = new FormData(event.currentTarget);
            go(["assemble"], { base: String(data.get("base")), other: String(data.get("other")) });
          }}
        >
          <label class="field">
            <span>or two parents: base</span>
            <select name="base">
              {stored.map(({ id }) => (
                <option key={id}>{id}</option>
              ))}
            </select>
          </label>
          <label class="field">
            <span>experts of</span>
            <select name="other" value={other}>
              {stored.map(({ id }) => (
                <option key={id}>{id}</option>
              ))}
            </select>
          </label>
          <button type="submit">Begin</button>
        </form>
      )}
    </div>
  );
}

/** The text that an address asks for; undefined: what is there stays. */
async function open(query: URLSearchParams): Promise<string | undefined> {
  const entries = checkpoints.value ?? [];
  const [base, other] = [query.get("base"), query.get("other")];
  if (base && other) {
    const text = await engine().recipeTemplate({ base, other });
    const threshold = Number(query.get("threshold") ?? Number.NaN);
    return Number.isFinite(threshold) ? withThreshold(text, threshold, query.get("measure") ?? "rms") : text;
  }
  const wanted = query.get("recipe");
  if (wanted) return entries.find(({ id }) => id === wanted)?.recipe;
  if (recipeText.value !== "") return undefined;
  const first = entries.find(({ recipe }) => recipe !== undefined);
  if (first) return first.recipe;
  const stored = entries.filter(({ kind }) => kind === "checkpoint");
  const [one, two] = stored;
  return one && two ? engine().recipeTemplate({ base: one.id, other: two.id }) : "version: 1\nparents:\n";
}

async function withThreshold(text: string, threshold: number, measure: string): Promise<string> {
  const reading = await engine().readRecipe(text);
  if (!("form" in reading)) return text;
  const { form } = reading;
  const changed: RecipeForm = {
    ...form,
    rules: form.rules.map((rule) => ({ ...rule, threshold, measure })),
  };
  return engine().writeRecipe(changed);
}
