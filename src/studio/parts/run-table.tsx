/** Runs in a table: what plots show, in numbers. */
import type { RunSummary } from "../../server/api.ts";
import { figureText, MEASURES } from "../logic/figures.ts";
import { formatCount } from "../logic/format.ts";
import { runHref } from "./run-plots.tsx";

export interface RunLine {
  name: string;
  run: string;
  summary: RunSummary | null;
  note?: string;
}

export function RunTable({ label, lines }: { label: string; lines: readonly RunLine[] }) {
  return (
    <div class="scroll" tabIndex={0} role="group" aria-label={label}>
      <table>
        <thead>
          <tr>
            <th scope="col">Run</th>
            <th scope="col" class="number">
              Answers
            </th>
            {MEASURES.map(({ id, title }) => (
              <th key={id} scope="col" class="number">
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {lines.map(({ name, run, summary, note }) => (
            <tr key={run + name}>
              <th scope="row">
                <a href={runHref(run)}>{name}</a>
                {note && <span class="soft small"> {note}</span>}
              </th>
              <td class="number">{formatCount(summary?.answered ?? 0)}</td>
              {MEASURES.map((measure) => (
                <td key={measure.id} class="number">
                  {figureText(measure, summary)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
