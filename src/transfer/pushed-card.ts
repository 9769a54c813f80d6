/**
 * The model card as it is pushed: what the build could not know is filled in. Names of the parents on the Hub, where
 * they are given; results, from the summaries of runs. No number that was not measured.
 */
import { formatInteger } from "../base/format.ts";
import { baseModelLines } from "../build/model-card.ts";
import type { GroupSummary, RunSummary, Share } from "../eval/summary.ts";

export interface CardResult extends Pick<RunSummary, "name" | "digest" | "asked" | "overall" | "tasks"> {
  /** Of the very checkpoint that is pushed, and not of one that it is compared with. */
  isOwn: boolean;
}

export interface CardAdditions {
  /** Of the parents, in their order; empty: the card says it already, or nobody knows. */
  baseModels: readonly (string | undefined)[];
  results: readonly CardResult[];
}

const FRONT = /^---\r?\n([\s\S]*?)\r?\n---\r?\n/;
const MISSING_KEYS: readonly (readonly [string, string])[] = [
  ["library_name", "library_name: transformers"],
  ["pipeline_tag", "pipeline_tag: text-generation"],
  ["tags", "tags: [merge, moe, assembly-of-experts, chimera]"],
];
const [BEGIN, END] = ["<!-- results: chimera push -->", "<!-- end of results -->"];

/** The card of a child. */
export function completeCard(card: string, { baseModels, results }: CardAdditions): string {
  const head = FRONT.exec(card);
  let lines = head ? head[1]!.split(/\r?\n/) : [];
  for (const [key, line] of MISSING_KEYS) {
    if (!lines.some((some) => some.startsWith(`${key}:`))) lines.push(line);
  }
  const wanted = baseModelLines(baseModels);
  if (wanted.length > 0) lines = [...without(lines, ["base_model", "base_model_relation"]), ...wanted];
  const body = head ? card.slice(head[0].length) : `\n${card}`;
  return withResults(`---\n${lines.join("\n")}\n---\n${body}`, results);
}

/** Lines of a mapping without some keys and what is below them. */
function without(lines: readonly string[], keys: readonly string[]): string[] {
  let isLeftOut = false;
  return lines.filter((line) => {
    const key = /^([\w-]+):/.exec(line)?.[1];
    if (key !== undefined) isLeftOut = keys.includes(key);
    return !isLeftOut;
  });
}

/** Any card with a section of results, in the place of one that was there. */
export function withResults(card: string, results: CardAdditions["results"]): string {
  if (results.length === 0) return card;
  return withTable(withModelIndex(card, results), results);
}

/** What programs read of results: of this checkpoint alone. */
function withModelIndex(card: string, results: CardAdditions["results"]): string {
  const own = results.filter(({ isOwn }) => isOwn);
  const measured = own.flatMap(({ tasks }) =>
    Object.entries(tasks).flatMap(([task, { accuracy }]) => (accuracy ? [{ task, accuracy }] : [])),
  );
  if (measured.length === 0) return card;
  const index = [
    "model-index:",
    `  - name: ${JSON.stringify(own[0]!.name)}`,
    "    results:",
    ...measured.flatMap(({ task, accuracy }) => [
      "      - task: { type: text-generation }",
      `        dataset: { name: ${JSON.stringify(task)}, type: ${JSON.stringify(task)} }`,
      `        metrics: [{ type: accuracy, value: ${Number(accuracy.value.toFixed(4))} }]`,
    ]),
  ];
  const head = FRONT.exec(card);
  const lines = head ? without(head[1]!.split(/\r?\n/), ["model-index"]) : [];
  const body = head ? card.slice(head[0].length) : `\n${card}`;
  return `---\n${[...lines, ...index].join("\n")}\n---\n${body}`;
}

function withTable(card: string, results: CardAdditions["results"]): string {
  const section = [BEGIN, "## Results", "", ...tableOf(results), END].join("\n");
  const [from, to] = [card.indexOf(BEGIN), card.indexOf(END)];
  if (from >= 0 && to > from) return card.slice(0, from) + section + card.slice(to + END.length);
  const limits = card.indexOf("\n## Limits\n");
  if (limits >= 0) return `${card.slice(0, limits + 1)}${section}\n\n${card.slice(limits + 1)}`;
  return `${card.trimEnd()}\n\n${section}\n`;
}

function tableOf(results: CardAdditions["results"]): string[] {
  const rows = results.flatMap(({ name, tasks, overall }) => {
    const groups = Object.entries(tasks);
    const all: [string, GroupSummary][] = groups.length > 1 && overall ? [["all", overall]] : [];
    return [...groups, ...all].map(([task, group]) => [name, task, ...cellsOf(group)]);
  });
  const digests = results.map(({ name, digest }) => `${cell(name)} \`${digest.slice(0, 16)}…\``).join(", ");
  return [
    "| model | questions of | answers | accuracy (95 %) | output tokens, mean | refused |",
    "|---|---|---:|---:|---:|---:|",
    ...rows.map((row) => `| ${row.map(cell).join(" | ")} |`),
    "",
    `Measured with \`chimera eval\`; settings of the runs: ${digests}.`,
  ];
}

function cellsOf({ answers, accuracy, tokens, refused }: GroupSummary): string[] {
  return [
    formatInteger(answers),
    accuracy ? shareText(accuracy, 3) : "–",
    tokens ? tokens.mean.toFixed(1) : "–",
    `${(100 * refused.value).toFixed(1)} %`,
  ];
}

function shareText({ value, low, high }: Share, digits: number): string {
  return `${value.toFixed(digits)} (${low.toFixed(2)}–${high.toFixed(2)})`;
}

/** Names come from files: one cell of a table, whatever is in them. */
function cell(text: string): string {
  return text.replace(/[\p{Cc}|<>`]/gu, " ");
}
