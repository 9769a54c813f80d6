/** One rule of a recipe: which tensors, how much of each parent, and from which difference on. */
import type { RecipeWords, RuleForm, SelectorForm } from "../../server/api.ts";
import { readRanges, readWeight, readWords, writeRanges, writeWeight } from "../logic/ranges.ts";
import { ParsedField } from "./parsed-field.tsx";
import { Pick } from "./recipe-form.tsx";

export interface RuleFieldsProps {
  rule: RuleForm;
  number: number;
  count: number;
  words: RecipeWords;
  /** Of the parents. */
  names: readonly string[];
  base: string;
  onChange: (rule: RuleForm) => void;
  onRemove: () => void;
  onMove: (by: number) => void;
}

export function RuleFields(props: RuleFieldsProps) {
  const { rule, number, count, words, names, base, onChange, onRemove, onMove } = props;
  const changeSelector = (at: number, selector: SelectorForm) =>
    onChange({
      ...rule,
      selectors: rule.selectors.map((each, index) => (index === at ? selector : each)),
    });
  return (
    <fieldset class="rule">
      <legend>Rule {number}</legend>
      <div class="rule-tools">
        <button
          type="button"
          class="small quiet"
          aria-label={`Move rule ${number} up`}
          disabled={number === 1}
          onClick={() => onMove(-1)}
        >
          ↑
        </button>
        <button
          type="button"
          class="small quiet"
          aria-label={`Move rule ${number} down`}
          disabled={number === count}
          onClick={() => onMove(1)}
        >
          ↓
        </button>
        <button
          type="button"
          class="small quiet"
          aria-label={`Remove rule ${number}`}
          disabled={count === 1}
          onClick={onRemove}
        >
          Remove
        </button>
      </div>
      {rule.selectors.map((selector, index) => (
        <SelectorFields
          key={index}
          selector={selector}
          words={words}
          onChange={(changed) => changeSelector(index, changed)}
          onRemove={
            rule.selectors.length > 1
              ? () => onChange({ ...rule, selectors: rule.selectors.filter((_, at) => at !== index) })
              : undefined
          }
        />
      ))}
      <button
        type="button"
        class="small quiet"
        onClick={() => onChange({ ...rule, selectors: [...rule.selectors, { role: "router" }] })}
      >
        + or other tensors
      </button>
      {names
        .filter((name) => name !== base || rule.weights[name] !== undefined)
        .map((name) => (
          <Weight
            key={name}
            name={name}
            weight={rule.weights[name]}
            onChange={(weight) => {
              const { [name]: _, ...rest } = rule.weights;
              onChange({ ...rule, weights: weight === undefined ? rest : { ...rest, [name]: weight } });
            }}
          />
        ))}
      <Threshold rule={rule} words={words} onChange={onChange} />
    </fieldset>
  );
}

interface WeightProps {
  name: string;
  weight: number | number[] | undefined;
  onChange: (weight: number | number[] | undefined) => void;
}

function Weight({ name, weight, onChange }: WeightProps) {
  const single = typeof weight === "number" ? weight : undefined;
  return (
    <div class="row weight">
      <ParsedField<number | number[] | null>
        label={`λ of ${name}`}
        value={weight ?? null}
        write={(value) => (value === null ? "" : writeWeight(value))}
        read={(text) => (text.trim() === "" ? null : readWeight(text))}
        placeholder="none"
        wanted="a number, or several for a gradient: 0.2, 0.8"
        onChange={(value) => onChange(value ?? undefined)}
        isNarrow
      />
      <input
        type="range"
        min={0}
        max={1}
        step={0.01}
        value={single ?? 0}
        disabled={Array.isArray(weight)}
        aria-label={`λ of ${name}, by hand`}
        onInput={(event) => onChange(event.currentTarget.valueAsNumber)}
      />
    </div>
  );
}

interface ThresholdProps {
  rule: RuleForm;
  words: RecipeWords;
  onChange: (rule: RuleForm) => void;
}

function Threshold({ rule, words, onChange }: ThresholdProps) {
  return (
    <div class="row">
      <ParsedField<number | null>
        label="δ: only what differs by more"
        value={rule.threshold ?? null}
        write={(value) => (value === null ? "" : String(value))}
        read={(text) => {
          if (text.trim() === "") return null;
          const value = Number(text);
          return Number.isFinite(value) && value >= 0 ? value : undefined;
        }}
        placeholder="all"
        wanted="a number of 0 or more"
        onChange={(value) => {
          const { threshold: _, ...rest } = rule;
          onChange(value === null ? rest : { ...rest, threshold: value });
        }}
        isNarrow
      />
      {rule.threshold !== undefined && (
        <Pick
          label="measured as"
          value={rule.measure ?? "rms"}
          values={words.measures}
          onChange={(measure) => onChange({ ...rule, measure })}
        />
      )}
      {words.methods.length > 1 && (
        <Pick
          label="Method"
          value={rule.method ?? words.methods[0]!}
          values={words.methods}
          onChange={(method) => onChange({ ...rule, method })}
        />
      )}
    </div>
  );
}

interface SelectorFieldsProps {
  selector: SelectorForm;
  words: RecipeWords;
  onChange: (selector: SelectorForm) => void;
  onRemove: (() => void) | undefined;
}

const ANY = "any role";

function SelectorFields({ selector, words, onChange, onRemove }: SelectorFieldsProps) {
  /** Keys that say nothing are left out. */
  const change = (changes: Partial<SelectorForm>) => {
    const all = Object.entries({ ...selector, ...changes });
    onChange(
      Object.fromEntries(
        all.filter(
          ([, value]) => value !== undefined && value !== "" && !(Array.isArray(value) && value.length === 0),
        ),
      ),
    );
  };
  const isNarrowed = Object.keys(selector).some((key) => key !== "role");
  return (
    <div class="selector">
      <div class="row">
        <Pick
          label="Tensors"
          value={selector.role ?? ANY}
          values={[...words.roles, ANY]}
          onChange={(role) => change({ role: role === ANY ? undefined : role })}
        />
        <label class="check">
          <input
            type="checkbox"
            checked={selector.includeMtp ?? (selector.role === "all" || selector.role === "mtp")}
            onChange={(event) => change({ includeMtp: event.currentTarget.checked })}
          />
          MTP too
        </label>
        {onRemove && (
          <button type="button" class="small quiet" onClick={onRemove}>
            Remove
          </button>
        )}
      </div>
      <details open={isNarrowed} class="fold">
        <summary class="small">Narrower</summary>
        <div class="row">
          <ParsedField
            label="Layers"
            value={selector.layers ?? []}
            {...{ read: readRanges, write: writeRanges, placeholder: "all", wanted: "3-60, 70" }}
            onChange={(layers) => change({ layers })}
            isNarrow
          />
          <ParsedField
            label="Experts"
            value={selector.experts ?? []}
            {...{ read: readRanges, write: writeRanges, placeholder: "all", wanted: "0-15, 20" }}
            onChange={(experts) => change({ experts })}
            isNarrow
          />
          <ParsedField
            label="Matrices"
            value={selector.matrices ?? []}
            read={readWords}
            write={(values) => values.join(", ")}
            placeholder="all"
            wanted="names"
            onChange={(matrices) => change({ matrices })}
            isNarrow
          />
          <ParsedField
            label="Name"
            value={selector.name ?? ""}
            read={(text) => text}
            write={(text) => text}
            placeholder="*.o_proj.weight"
            wanted="a pattern"
            onChange={(name) => change({ name })}
            isNarrow
          />
        </div>
      </details>
    </div>
  );
}
