/** What the reports of sweeps, searches and ablations share: where and by what runs were made, and their figures in rows. */
import { join, relative } from "node:path";
import { formatBytes } from "../base/format.ts";
import type { ReportBlock, TableCell, TableColumn } from "../charts/html-report.ts";
import { writeFileAtomically } from "../checkpoint/node.ts";
import type { RunConfig } from "../eval/run-config.ts";
import { readRun } from "../eval/run-folder.ts";
import type { RunSummary, Share } from "../eval/summary.ts";

/** A run that a report speaks of. */
export interface ReportedRun {
  name: string;
  /** Its folder. */
  run: string;
  summary: RunSummary;
}

export const FIGURE_COLUMNS: readonly TableColumn[] = [
  { label: "accuracy", isNumber: true },
  { label: "95 %", isNumber: true },
  { label: "tokens", isNumber: true },
  { label: "thinking", isNumber: true },
  { label: "answer", isNumber: true },
  { label: "opens a trace", isNumber: true },
  { label: "closes it", isNumber: true },
  { label: "refused", isNumber: true },
  { label: "functional", isNumber: true },
  { label: "records" },
];

/** Cells under FIGURE_COLUMNS; the last leads to the records. `folder`: that of the report. */
export function figureCells({ summary, run }: ReportedRun, folder: string): TableCell[] {
  const { overall } = summary;
  const records = { text: "records", href: linkTo(run, folder) };
  if (!overall) return [...Array.from({ length: FIGURE_COLUMNS.length - 1 }, () => "–"), records];
  const { accuracy, tokens, thinkingTokens, answerTokens } = overall;
  return [
    accuracy ? accuracy.value.toFixed(3) : "–",
    accuracy ? `${accuracy.low.toFixed(3)}–${accuracy.high.toFixed(3)}` : "–",
    tokens ? tokens.mean.toFixed(1) : "–",
    thinkingTokens ? thinkingTokens.mean.toFixed(1) : "–",
    answerTokens ? answerTokens.mean.toFixed(1) : "–",
    percent(overall.opensThinking),
    percent(overall.closesThinking),
    percent(overall.refused),
    percent(overall.functional),
    records,
  ];
}

export function percent({ value, of }: Share): string {
  return of === 0 ? "–" : `${(100 * value).toFixed(1)} %`;
}

export function linkTo(run: string, folder: string): string {
  return relative(folder, join(run, "records.ndjson")).split(/[/\\]/).map(encodeURIComponent).join("/");
}

/** Machine, commit, seeds, questions: of all runs, each value once. */
export async function provenance(runs: readonly ReportedRun[]): Promise<ReportBlock> {
  const folders = [...new Set(runs.map(({ run }) => run))];
  const configs: RunConfig[] = [];
  for (const folder of folders) configs.push((await readRun(folder)).config);
  const once = (read: (config: RunConfig) => string) => [...new Set(configs.map(read))].join("; ");
  const days = configs.map(({ startedAt }) => startedAt.slice(0, 10)).sort();
  const seconds = sumOnce(runs);
  return {
    kind: "facts",
    facts: [
      [
        "machine",
        once(({ machine }) => `${machine.cpu}, ${machine.cores} cores, ${formatBytes(machine.memoryBytes)}`),
      ],
      ["system", once(({ machine }) => `${machine.system}, Node ${machine.node}`)],
      ["chimera", once(({ chimera }) => `${chimera.version}, commit ${chimera.commit ?? "unknown"}`)],
      ["seed", once(({ settings }) => String(settings.seed))],
      ["questions", once(({ numQuestions }) => String(numQuestions))],
      ["tasks", once(({ settings }) => settings.tasks.map(({ name }) => name).join(", "))],
      ["generation", once(({ settings }) => generationInWords(settings))],
      [
        "refusals",
        once(({ settings: { refusals } }) =>
          refusals.kind === "rules" ? "by rules" : `by ${refusals.model}`,
        ),
      ],
      ["made", days[0] === days.at(-1) ? (days[0] ?? "") : `${days[0]} to ${days.at(-1)}`],
      ["time of all runs", `${seconds.toFixed(0)} s`],
    ],
  };
}

function sumOnce(runs: readonly ReportedRun[]): number {
  const seconds = new Map(runs.map(({ run, summary }) => [run, summary.speed.seconds]));
  return [...seconds.values()].reduce((sum, one) => sum + one, 0);
}

function generationInWords({ generation }: RunConfig["settings"]): string {
  const said = Object.entries(generation).map(([key, value]) => `${key} ${JSON.stringify(value)}`);
  return said.length === 0 ? "as the tasks say" : said.join(", ");
}

/** Where the numbers are, so that each can be computed again. */
export const HOW_TO_CHECK: ReportBlock = {
  kind: "text",
  text: "Every number here is computed from the runs: records.ndjson in each run's folder holds every answer, summary.json the figures. chimera eval RUN RUN prints and compares them again.",
};

/** Writes files into a folder; returns their paths. */
export async function writeAll(folder: string, files: Readonly<Record<string, string>>): Promise<string[]> {
  const paths: string[] = [];
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, name);
    await writeFileAtomically(path, content);
    paths.push(path);
  }
  return paths;
}

/** A line of CSV: quoted where it must be. */
export function csvLine(cells: readonly (string | number | null | undefined)[]): string {
  const quoted = cells.map((cell) => {
    const text = cell === null || cell === undefined ? "" : String(cell);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  });
  return `${quoted.join(",")}\n`;
}

export const CSV_FIGURES: readonly string[] = [
  ...["answers", "accuracy", "accuracy_low", "accuracy_high", "tokens_mean", "tokens_median", "tokens_p90"],
  ...[
    "thinking_tokens_mean",
    "answer_tokens_mean",
    "opens_thinking",
    "closes_thinking",
    "refused",
    "functional",
  ],
];

export function csvFigures({ overall }: RunSummary): (number | null)[] {
  if (!overall) return CSV_FIGURES.map(() => null);
  const { answers, accuracy, tokens, thinkingTokens, answerTokens } = overall;
  return [
    ...[answers, accuracy?.value ?? null, accuracy?.low ?? null, accuracy?.high ?? null],
    ...[tokens?.mean ?? null, tokens?.median ?? null, tokens?.p90 ?? null],
    ...[thinkingTokens?.mean ?? null, answerTokens?.mean ?? null],
    ...[
      overall.opensThinking.value,
      overall.closesThinking.value,
      overall.refused.value,
      overall.functional.value,
    ],
  ];
}
