/** A range with its value in words. */
export interface SliderProps {
  label: string;
  value: number;
  min: number;
  max: number;
  step: number;
  /** The value as it is read out. */
  text: string;
  ends?: readonly [string, string];
  disabled?: boolean;
  onInput: (value: number) => void;
}

export function Slider({ label, value, min, max, step, text, ends, disabled, onInput }: SliderProps) {
  const id = `slider-${label.replace(/\W+/g, "-")}`;
  return (
    <div class="slider">
      <label for={id}>{label}</label>
      <output for={id}>{text}</output>
      <input
        id={id}
        type="range"
        value={value}
        aria-valuetext={text}
        disabled={disabled}
        {...{ min, max, step }}
        onInput={(event) => onInput(event.currentTarget.valueAsNumber)}
      />
      {ends && (
        <span class="ends" aria-hidden="true">
          <span>{ends[0]}</span>
          <span>{ends[1]}</span>
        </span>
      )}
    </div>
  );
}
