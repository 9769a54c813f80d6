/** Studies of the small models: real children, few questions; and their figures, counted anew from the records. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { EvalRecord } from "../../src/eval/record.ts";
import { identifyEvalTarget, openEvalTarget } from "../../src/library/eval-target.ts";
import { RunPool } from "../../src/study/run-pool.ts";
import { loadTasks } from "../../src/tasks/task-file.ts";

export const MAX_TOKENS = 24;

export interface MiniPool {
  pool: RunPool;
  /** Names of the children that were run, in order. */
  opened: string[];
}

/** A pool of runs in a folder. Answers are short: what is tested is what is made of them. */
export async function miniPool(
  folder: string,
  { n = 8, seed = 3 }: { n?: number; seed?: number } = {},
): Promise<MiniPool> {
  const opened: string[] = [];
  const pool = new RunPool({
    folder,
    tasks: await loadTasks(["tasks/mini"]),
    questions: { n, seed, generation: { maxTokens: MAX_TOKENS } },
    opener: {
      identify: (source) => identifyEvalTarget(source),
      open: (source, name) => {
        opened.push(name);
        return openEvalTarget(source, { name, threads: 1 });
      },
    },
  });
  return { pool, opened };
}

/** Of a run's folder. */
export function recordsOf(run: string): EvalRecord[] {
  return readFileSync(join(run, "records.ndjson"), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as EvalRecord);
}

export interface Figures {
  answers: number;
  accuracy: number;
  tokens: number;
  median: number;
  thinkingTokens: number;
  answerTokens: number;
  opensThinking: number;
  closesThinking: number;
  refused: number;
  functional: number;
}

/** What a report says of a run, by arithmetic of its own. */
export function figures(records: readonly EvalRecord[]): Figures {
  const share = (test: (record: EvalRecord) => boolean, of: readonly EvalRecord[] = records) =>
    of.reduce((sum, record) => sum + (test(record) ? 1 : 0), 0) / of.length;
  const mean = (values: readonly (number | null)[]) =>
    values.reduce<number>((sum, value) => sum + value!, 0) / values.length;
  const scored = records.filter(({ correct }) => correct !== null);
  const tokens = records.map((record) => record.tokens!).sort((a, b) => a - b);
  return {
    answers: records.length,
    accuracy: share(({ correct }) => correct === true, scored),
    tokens: mean(tokens),
    median: (tokens[Math.floor((tokens.length - 1) / 2)]! + tokens[Math.floor(tokens.length / 2)]!) / 2,
    thinkingTokens: mean(records.map((record) => record.thinkingTokens)),
    answerTokens: mean(records.map((record) => record.answerTokens)),
    opensThinking: share((record) => record.opensThinking),
    closesThinking: share((record) => record.closesThinking),
    refused: share((record) => record.refused),
    functional: share(
      (record) =>
        record.finish === "stop" &&
        record.content.trim() !== "" &&
        !(record.opensThinking && !record.closesThinking),
    ),
  };
}

/** The cells of a report's row, the interval and the link left out. */
export function cellsOf(run: string): string[] {
  const all = figures(recordsOf(run));
  const percent = (value: number) => `${(100 * value).toFixed(1)} %`;
  return [
    all.accuracy.toFixed(3),
    ...[all.tokens, all.thinkingTokens, all.answerTokens].map((value) => value.toFixed(1)),
    ...[all.opensThinking, all.closesThinking, all.refused, all.functional].map(percent),
  ];
}

export interface ReadTable {
  caption: string;
  labels: string[];
  rows: { cells: string[]; hrefs: string[] }[];
}

/** The tables of a report, as text. */
export function tablesOf(html: string): ReadTable[] {
  const cells = (row: string) => [...row.matchAll(/<t[hd][^>]*>(.*?)<\/t[hd]>/g)].map((cell) => cell[1]!);
  const text = (cell: string) => cell.replaceAll(/<[^>]*>/g, "");
  return [...html.matchAll(/<table>(.*?)<\/table>/gs)].map((match) => {
    const [head, body] = match[1]!.split("<tbody>") as [string, string];
    const rows = [...body.matchAll(/<tr>(.*?)<\/tr>/gs)].map((row) => ({
      cells: cells(row[1]!).map(text),
      hrefs: [...row[1]!.matchAll(/href="([^"]*)"/g)].map((href) => href[1]!),
    }));
    const caption = /<caption>(.*?)<\/caption>/.exec(head)![1]!;
    return { caption, labels: cells(head).map(text), rows };
  });
}

/** A report needs no network and leads to what is there. */
export function assertSelfContained(html: string, folder: string): void {
  assert.doesNotMatch(html, /<script/i);
  assert.doesNotMatch(html, /(?:src|href|action|data)\s*=\s*["']?(?:https?:)?\/\//i);
  assert.doesNotMatch(html, /url\(|@import/i);
  const links = [...html.matchAll(/href="([^"]*)"/g)].map((match) => match[1]!);
  assert.ok(links.length > 0);
  for (const link of links) readFileSync(join(folder, decodeURIComponent(link)));
  for (const label of ["machine", "system", "chimera", "seed", "questions", "generation"])
    assert.match(html, new RegExp(`<dt>${label}</dt><dd>[^<]+</dd>`));
  assert.match(html, /<dt>chimera<\/dt><dd>\S+, commit \S+/);
}

/** Every row that leads to records holds the figures of those records. Returns how many did. */
export function assertRecomputed(html: string, folder: string): number {
  let count = 0;
  for (const { labels, rows, caption } of tablesOf(html)) {
    const at = labels.indexOf("accuracy");
    if (at < 0) continue;
    for (const { cells, hrefs } of rows) {
      const run = join(folder, decodeURIComponent(hrefs.at(-1)!), "..");
      const [accuracy, , ...rest] = cells.slice(at, -1);
      assert.deepEqual([accuracy, ...rest], cellsOf(run), `${caption}: ${cells[0]}`);
      count++;
    }
  }
  return count;
}
