/** YAML that is only read, in colours. */
import { highlightLine } from "../logic/highlight.ts";

export function CodeView({ label, text }: { label: string; text: string }) {
  return (
    <div class="code" tabIndex={0} role="group" aria-label={label}>
      <pre>
        {text.split("\n").map((line, index) => (
          <span key={index}>
            {highlightLine(line).map(({ kind, text: part }, at) =>
              kind === "plain" ? (
                part
              ) : (
                <span key={at} class={`code-${kind}`}>
                  {part}
                </span>
              ),
            )}
            {"\n"}
          </span>
        ))}
      </pre>
    </div>
  );
}
