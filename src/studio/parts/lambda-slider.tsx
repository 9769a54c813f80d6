/**
 * λ of a child, by hand: whenever it has come to rest, a virtual child with this λ takes the place of the column's model,
 * and the last turn is asked again of it.
 */
import { useEffect, useRef, useState } from "preact/hooks";
import type { CheckpointEntry, RecipeForm } from "../../server/api.ts";
import { engine } from "../state.ts";
import { useLoaded } from "../use-loaded.ts";
import { Fault } from "./notice.tsx";
import { Slider } from "./slider.tsx";

export interface LambdaSliderProps {
  child: CheckpointEntry;
  /** `note` says which λ it is. */
  onChild: (model: string, note: string) => void;
}

const REST_MS = 350;

export function LambdaSlider({ child, onChild }: LambdaSliderProps) {
  const { value, error } = useLoaded(() => engine().readRecipe(child.recipe ?? ""), [child.recipe]);
  if (error) return <Fault error={error} />;
  if (!value || "problems" in value) return null;
  return <Slide key={child.id} child={child} form={value.form} onChild={onChild} />;
}

function Slide({ child, form, onChild }: LambdaSliderProps & { form: RecipeForm }) {
  const parents = form.parents.map(({ name }) => name).filter((name) => name !== form.base);
  const [parent, setParent] = useState(parents[0] ?? "");
  const [lambda, setLambda] = useState(() => lambdaOf(form, parents[0] ?? ""));
  const [isBusy, setBusy] = useState(false);
  const [fault, setFault] = useState<unknown>();
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const latest = useRef(0);
  useEffect(() => () => clearTimeout(timer.current), []);
  if (parents.length === 0) return null;

  const make = async (wanted: number) => {
    const turn = ++latest.current;
    setBusy(true);
    setFault(undefined);
    try {
      const name = `${child.id.slice(0, 90)}-lambda`;
      await engine().makeChild({ name, recipe: child.recipe!, lambda: { [parent]: wanted } });
      if (turn === latest.current) onChild(name, `λ ${parent} = ${wanted.toFixed(2)}`);
    } catch (error) {
      if (turn === latest.current) setFault(error);
    } finally {
      if (turn === latest.current) setBusy(false);
    }
  };
  return (
    <div class="lambda">
      {parents.length > 1 && (
        <label class="field">
          <span>Parent</span>
          <select
            value={parent}
            onChange={(event) => {
              setParent(event.currentTarget.value);
              setLambda(lambdaOf(form, event.currentTarget.value));
            }}
          >
            {parents.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
      )}
      <Slider
        label={`λ of ${child.id}`}
        value={lambda}
        min={0}
        max={1}
        step={0.01}
        text={lambda.toFixed(2)}
        ends={[form.base, parent]}
        onInput={(wanted) => {
          setLambda(wanted);
          clearTimeout(timer.current);
          timer.current = setTimeout(() => void make(wanted), REST_MS);
        }}
      />
      <p class="soft small" role="status">
        {isBusy ? "Assembling …" : "The child is assembled anew where you let go, and asked again."}
      </p>
      <Fault error={fault} title="This child cannot be assembled" />
    </div>
  );
}

/** What the recipe says, where it says one number. */
function lambdaOf(form: RecipeForm, parent: string): number {
  const weights = form.rules.map(({ weights: all }) => all[parent]);
  const first = weights.find((weight) => typeof weight === "number");
  return typeof first === "number" ? Math.max(0, Math.min(1, first)) : 1;
}
