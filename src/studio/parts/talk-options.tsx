/** How answers are drawn. What is left empty is as the model advises. */
import { settings, type TalkSettings } from "../talk-state.ts";

export function TalkOptions() {
  const { system } = settings.value;
  return (
    <details class="fold" open={innerWidth > 760}>
      <summary>Sampling</summary>
      <div class="options">
        <NumberField at="temperature" label="Temperature" min={0} max={2} step={0.1} placeholder="model's" />
        <NumberField at="seed" label="Seed" min={0} max={2 ** 31} step={1} placeholder="any" />
        <NumberField
          at="maxTokens"
          label="Tokens at most"
          min={1}
          max={131072}
          step={1}
          placeholder="no limit"
        />
        <label class="field whole">
          <span>System message</span>
          <textarea rows={2} value={system} onInput={(event) => set("system", event.currentTarget.value)} />
        </label>
      </div>
    </details>
  );
}

interface NumberFieldProps {
  at: keyof TalkSettings;
  label: string;
  min: number;
  max: number;
  step: number;
  placeholder: string;
}

function NumberField({ at, label, ...range }: NumberFieldProps) {
  return (
    <label class="field">
      <span>{label}</span>
      <input
        type="number"
        value={settings.value[at]}
        {...range}
        onInput={(event) => set(at, event.currentTarget.value)}
      />
    </label>
  );
}

function set(at: keyof TalkSettings, value: string): void {
  settings.value = { ...settings.value, [at]: value };
}
