/** What went wrong, and what is to be waited for. */
import type { Problem } from "../../server/api.ts";
import { EngineError } from "../engine.ts";

/** An error with its note, and each of its problems. */
export function Fault({ error, title }: { error: unknown; title?: string }) {
  if (error === undefined || error === null) return null;
  const { message, note, problems } = faultOf(error);
  return (
    <div class="fault" role="alert">
      <strong>{title ?? "This did not work"}</strong>
      <p>{message}</p>
      {note && <p class="soft">{note}</p>}
      {problems && problems.length > 1 && <ProblemList problems={problems} />}
    </div>
  );
}

export function ProblemList({ problems }: { problems: readonly Problem[] }) {
  return (
    <ul class="problems">
      {problems.map(({ message, note, line, column }) => (
        <li key={`${line} ${column} ${message}`}>
          {line !== undefined && <span class="place">line {line}</span>} {message}
          {note && <span class="soft"> · {note}</span>}
        </li>
      ))}
    </ul>
  );
}

export function Waiting({ what }: { what: string }) {
  return (
    <p class="waiting" role="status">
      <span class="spinner" aria-hidden="true" /> {what}
    </p>
  );
}

function faultOf(error: unknown): { message: string; note?: string; problems?: readonly Problem[] } {
  if (error instanceof EngineError) {
    const { message, note, problems } = error.details;
    return { message, ...(note ? { note } : {}), ...(problems ? { problems } : {}) };
  }
  return { message: error instanceof Error ? error.message : String(error) };
}
