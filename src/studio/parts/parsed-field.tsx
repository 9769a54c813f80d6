/** A field whose text means something else: what is typed stays as it is until it can be read, and is marked until then. */
import { useState } from "preact/hooks";

export interface ParsedFieldProps<T> {
  label: string;
  value: T;
  write: (value: T) => string;
  /** undefined: the text means nothing. */
  read: (text: string) => T | undefined;
  onChange: (value: T) => void;
  placeholder?: string;
  /** What would be read. */
  wanted: string;
  isNarrow?: boolean;
}

export function ParsedField<T>(props: ParsedFieldProps<T>) {
  const { label, value, write, read, onChange, placeholder, wanted, isNarrow } = props;
  const [draft, setDraft] = useState<string | undefined>();
  const text = draft ?? write(value);
  const isWrong = draft !== undefined && read(draft) === undefined;
  return (
    <label class={isNarrow ? "field narrow" : "field"}>
      <span>{label}</span>
      <input
        type="text"
        value={text}
        placeholder={placeholder}
        aria-invalid={isWrong}
        title={isWrong ? `Wanted ${wanted}` : undefined}
        onInput={(event) => {
          const typed = event.currentTarget.value;
          setDraft(typed);
          const meant = read(typed);
          if (meant !== undefined) onChange(meant);
        }}
        onBlur={() => {
          if (!isWrong) setDraft(undefined);
        }}
      />
      {isWrong && <span class="error-text small">Wanted {wanted}</span>}
    </label>
  );
}
