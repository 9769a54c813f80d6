/** Files beside the shards: what is known of them, and their text for whoever unfolds it. */
import { useState } from "preact/hooks";
import type { InspectReport } from "../../server/api.ts";
import { formatCount } from "../logic/format.ts";
import { engine } from "../state.ts";
import { useLoaded } from "../use-loaded.ts";
import { Fault, Waiting } from "./notice.tsx";

export function FileFolds({ id, report }: { id: string; report: InspectReport }) {
  const { value: names, error } = useLoaded(() => engine().fileNames(id), [id]);
  const { tokenizer, chatTemplate } = report;
  return (
    <>
      <ul class="plain">
        <li>
          Tokenizer: {tokenizer.files.length === 0 ? "none" : tokenizer.files.join(", ")}
          {tokenizer.class && <span class="soft"> ({tokenizer.class})</span>}
        </li>
        <li>
          Chat template:{" "}
          {chatTemplate
            ? `${formatCount(chatTemplate.characters)} characters in ${chatTemplate.file}`
            : "none"}
        </li>
      </ul>
      <Fault error={error} />
      {names?.map((name) => (
        <FileFold key={name} id={id} name={name} />
      ))}
    </>
  );
}

function FileFold({ id, name }: { id: string; name: string }) {
  const [isOpen, setOpen] = useState(false);
  return (
    <details class="fold" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary class="mono">{name}</summary>
      {isOpen && <FileText id={id} name={name} />}
    </details>
  );
}

/** More than this is no reading matter, and slow to lay out. */
const MOST_SHOWN = 200_000;

function FileText({ id, name }: { id: string; name: string }) {
  const { value, error } = useLoaded(() => engine().fileText(id, name), [id, name]);
  if (error) return <Fault error={error} />;
  if (value === undefined) return <Waiting what={`Reading ${name}`} />;
  const text = name.endsWith(".json") ? indented(value) : value;
  return (
    <section class="code" tabIndex={0} aria-label={name}>
      <pre>{text.length > MOST_SHOWN ? `${text.slice(0, MOST_SHOWN)}\n…` : text}</pre>
    </section>
  );
}

function indented(text: string): string {
  try {
    return text.includes("\n") ? text : JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
