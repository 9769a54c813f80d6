/**
 * A text with line numbers, colours, and its faults at their lines. The text itself is a textarea that grows with its lines, so
 * everything that people and assistive technology know of text fields holds; the coloured copy lies behind it.
 */
import { useRef } from "preact/hooks";
import type { Problem } from "../../server/api.ts";
import { highlightLine } from "../logic/highlight.ts";

export interface CodeEditorProps {
  label: string;
  value: string;
  problems: readonly Problem[];
  onInput: (value: string) => void;
}

export function CodeEditor({ label, value, problems, onInput }: CodeEditorProps) {
  const area = useRef<HTMLTextAreaElement>(null);
  const lines = value.split("\n");
  const faults = new Map<number, Problem>();
  for (const problem of problems)
    if (problem.line !== undefined && !faults.has(problem.line)) faults.set(problem.line, problem);

  const show = ({ line = 1, column = 1 }: Problem) => {
    const before = lines.slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0);
    const at = Math.min(value.length, before + column - 1);
    area.current?.focus();
    area.current?.setSelectionRange(at, at);
  };
  return (
    <div class="editor-frame">
      <section class="editor" aria-label={label}>
        <div class="gutter" aria-hidden="true">
          {lines.map((_, index) => (
            <span
              key={index}
              class={faults.has(index + 1) ? "at-fault" : undefined}
              title={faults.get(index + 1)?.message}
            >
              {index + 1}
            </span>
          ))}
        </div>
        <div class="editor-text">
          <pre aria-hidden="true">
            {lines.map((line, index) => (
              <span key={index} class={faults.has(index + 1) ? "line at-fault" : "line"}>
                {highlightLine(line).map(({ kind, text }, at) =>
                  kind === "plain" ? (
                    text
                  ) : (
                    <span key={at} class={`code-${kind}`}>
                      {text}
                    </span>
                  ),
                )}
                {"\n"}
              </span>
            ))}
          </pre>
          <textarea
            ref={area}
            value={value}
            rows={lines.length}
            wrap="off"
            spellcheck={false}
            autocomplete="off"
            autocapitalize="off"
            aria-label={label}
            aria-invalid={problems.length > 0}
            aria-describedby="editor-faults"
            onInput={(event) => onInput(event.currentTarget.value)}
            onKeyDown={(event) => indent(event, onInput)}
          />
        </div>
      </section>
      <ul id="editor-faults" class="editor-faults" aria-live="polite">
        {problems.map((problem) => (
          <li key={`${problem.line} ${problem.column} ${problem.message}`}>
            {problem.line !== undefined && (
              <button type="button" class="small" onClick={() => show(problem)}>
                Line {problem.line}
              </button>
            )}
            <span>
              {problem.message}
              {problem.note && <span class="soft"> · {problem.note}</span>}
            </span>
          </li>
        ))}
      </ul>
    </div>
  );
}

/** A new line begins where the one above does. */
function indent(event: KeyboardEvent, onInput: (value: string) => void): void {
  if (event.key !== "Enter" || event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
  const area = event.currentTarget as HTMLTextAreaElement;
  const { value, selectionStart, selectionEnd } = area;
  const line = value.slice(value.lastIndexOf("\n", selectionStart - 1) + 1, selectionStart);
  const spaces = /^ */.exec(line)![0] + (/:\s*$/.test(line) ? "  " : "");
  if (spaces === "") return;
  event.preventDefault();
  area.setRangeText(`\n${spaces}`, selectionStart, selectionEnd, "end");
  onInput(area.value);
}
