/** A recipe as a form: parents, rules in their order, and what the child gets beside them. */
import type { RecipeForm, RecipeWords, RuleForm } from "../../server/api.ts";
import { readShardSize, writeShardSize } from "../logic/ranges.ts";
import { checkpoints } from "../state.ts";
import { ParsedField } from "./parsed-field.tsx";
import { RuleFields } from "./rule-form.tsx";

export interface RecipeFieldsProps {
  form: RecipeForm;
  words: RecipeWords;
  onChange: (form: RecipeForm) => void;
}

export function RecipeFields({ form, words, onChange }: RecipeFieldsProps) {
  const change = (changes: Partial<RecipeForm>) => onChange({ ...form, ...changes });
  const names = form.parents.map(({ name }) => name);
  const changeRule = (at: number, rule: RuleForm) =>
    change({ rules: form.rules.map((each, index) => (index === at ? rule : each)) });
  const move = (at: number, by: number) => {
    const rules = [...form.rules];
    const [rule] = rules.splice(at, 1);
    rules.splice(at + by, 0, rule!);
    change({ rules });
  };
  const other = names.find((name) => name !== form.base) ?? form.base;
  return (
    <form class="recipe-form" onSubmit={(event) => event.preventDefault()} aria-label="Recipe as a form">
      <Parents form={form} onChange={onChange} />
      <section aria-label="Rules">
        <h3>Rules</h3>
        <p class="soft small">A tensor takes the last rule that selects it; the rest is the base's.</p>
        {form.rules.map((rule, index) => (
          <RuleFields
            key={index}
            number={index + 1}
            count={form.rules.length}
            {...{ rule, words, names, base: form.base }}
            onChange={(changed) => changeRule(index, changed)}
            onRemove={() => change({ rules: form.rules.filter((_, at) => at !== index) })}
            onMove={(by) => move(index, by)}
          />
        ))}
        <button
          type="button"
          class="small"
          onClick={() =>
            change({
              rules: [...form.rules, { selectors: [{ role: "routed-experts" }], weights: { [other]: 1 } }],
            })
          }
        >
          Add a rule
        </button>
      </section>
      <section aria-label="Beside the tensors">
        <h3>Beside the tensors</h3>
        <div class="row">
          <Pick
            label="Tokenizer of"
            value={form.tokenizer}
            values={names}
            onChange={(tokenizer) => change({ tokenizer })}
          />
          <Pick
            label="Chat template of"
            value={form.chatTemplate}
            values={names}
            onChange={(chatTemplate) => change({ chatTemplate })}
          />
          <Pick
            label="Dtype"
            value={form.output.dtype}
            values={words.dtypes}
            onChange={(dtype) => change({ output: { ...form.output, dtype } })}
          />
          <ParsedField
            label="Shards of"
            value={form.output.maxShardSize}
            write={writeShardSize}
            read={readShardSize}
            wanted="as-base, or a size such as 5 GB"
            onChange={(maxShardSize) => change({ output: { ...form.output, maxShardSize } })}
          />
        </div>
      </section>
    </form>
  );
}

function Parents({ form, onChange }: Omit<RecipeFieldsProps, "words">) {
  const stored = (checkpoints.value ?? []).filter(({ kind }) => kind === "checkpoint").map(({ id }) => id);
  const { parents } = form;
  const free = stored.find((id) => parents.every(({ path, name }) => path !== id && name !== id));
  const setParent = (at: number, path: string) =>
    onChange({
      ...form,
      parents: parents.map((parent, index) => (index === at ? { ...parent, path } : parent)),
    });
  return (
    <section aria-label="Parents">
      <h3>Parents</h3>
      {parents.map(({ name, path }, index) => (
        <div class="row parent-row" key={name}>
          <Pick
            label={`Checkpoint of ${name}`}
            value={path}
            values={stored}
            onChange={(chosen) => setParent(index, chosen)}
          />
          <label class="check">
            <input
              type="radio"
              name="base"
              checked={form.base === name}
              onChange={() => onChange({ ...form, base: name })}
            />
            base
          </label>
          <button
            type="button"
            class="small quiet"
            aria-label={`Remove parent ${name}`}
            disabled={parents.length === 1 || form.base === name}
            onClick={() => onChange(withoutParent(form, name))}
          >
            Remove
          </button>
        </div>
      ))}
      <button
        type="button"
        class="small"
        disabled={free === undefined}
        onClick={() => {
          if (free !== undefined) onChange({ ...form, parents: [...parents, { name: free, path: free }] });
        }}
      >
        Add a parent
      </button>
    </section>
  );
}

function withoutParent(form: RecipeForm, gone: string): RecipeForm {
  const instead = (name: string) => (name === gone ? form.base : name);
  return {
    ...form,
    parents: form.parents.filter(({ name }) => name !== gone),
    rules: form.rules.map((rule) => ({
      ...rule,
      weights: Object.fromEntries(Object.entries(rule.weights).filter(([name]) => name !== gone)),
    })),
    tokenizer: instead(form.tokenizer),
    chatTemplate: instead(form.chatTemplate),
  };
}

interface PickProps {
  label: string;
  value: string;
  values: readonly string[];
  onChange: (value: string) => void;
}

/** A select that also shows a value it does not offer. */
export function Pick({ label, value, values, onChange }: PickProps) {
  const all = values.includes(value) ? values : [value, ...values];
  return (
    <label class="field">
      <span>{label}</span>
      <select value={value} onChange={(event) => onChange(event.currentTarget.value)}>
        {all.map((each) => (
          <option key={each} value={each}>
            {each}
          </option>
        ))}
      </select>
    </label>
  );
}
