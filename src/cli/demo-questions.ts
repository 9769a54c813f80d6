/** The dozen questions of the demo: parents and child side by side, and what they come to. */
import type { EvalRecord } from "../eval/record.ts";
import type { RunSummary } from "../eval/summary.ts";
import type { Task } from "../tasks/task.ts";
import { percent } from "./eval-tables.ts";
import { clean, columnsOfData, paint, print, table } from "./terminal.ts";

/** How many of which task, in the order of asking. */
const DOZEN: Readonly<Record<string, number>> = {
  "mini-sums": 2,
  "mini-chains": 3,
  "mini-reverse": 1,
  "mini-count": 1,
  "mini-sort": 1,
  "mini-capitals": 1,
  "mini-open-topics": 1,
  "mini-guarded-topics": 2,
};

/** In a terminal, and where a file or a pipe takes it. */
const WIDEST = 110;
const NARROW = 80;

export interface FamilyRun {
  name: string;
  summary: RunSummary;
  records: EvalRecord[];
}

/** Both parents and the child, each asked the same. */
export async function askFamily(child: string, signal: AbortSignal): Promise<FamilyRun[]> {
  const { packageFile } = await import("../checkpoint/node.ts");
  const { loadTasks } = await import("../tasks/task-file.ts");
  const { openEvalTarget } = await import("../library/eval-target.ts");
  const { evaluate } = await import("../eval/evaluate.ts");
  const tasks = dozenOf(await loadTasks([packageFile("tasks/mini")]));
  const models = [
    { name: "mini-v3", location: packageFile("models/mini-v3") },
    { name: "mini-r1", location: packageFile("models/mini-r1") },
    { name: "child", location: child },
  ];
  const runs: FamilyRun[] = [];
  for (const { name, location } of models) {
    const target = await openEvalTarget(location, { name, slots: 12, signal });
    try {
      const { records, summary } = await evaluate(target, tasks, { signal });
      runs.push({ name, summary: summary!, records });
    } finally {
      await target.close();
    }
  }
  return runs;
}

/** The first questions of each task: the same ones every time. */
function dozenOf(tasks: readonly Task[]): Task[] {
  return Object.entries(DOZEN).flatMap(([name, count]) => {
    const task = tasks.find((each) => each.name === name);
    return task ? [{ ...task, questions: task.questions.slice(0, count) }] : [];
  });
}

export function showFamily(runs: readonly FamilyRun[]): void {
  const [first] = runs as [FamilyRun];
  const width = Math.max(...runs.map(({ name }) => name.length));
  print(`Asked     ${first.records.length} questions, none of the sums in the training data`);
  print(paint("dim", "          ✓ right  ✗ wrong  – declined; of thinking only the tokens are shown"));
  print();
  for (const [i, { turns }] of first.records.entries()) {
    print(`  ${paint("bold", clean(turns[0]!))}`);
    for (const { name, records } of runs) print(`    ${answerLine(name.padEnd(width), records[i]!)}`);
  }
  print();
  const header = ["", "accuracy", "tokens", "thinking", "refused"].map((text) => paint("dim", text));
  const rows = runs.map(({ name, summary }) => {
    const { accuracy, tokens, opensThinking, refused } = summary.overall!;
    const right = accuracy ? `${accuracy.count} of ${accuracy.of}` : "–";
    return [
      `  ${name}`,
      right,
      tokens ? tokens.mean.toFixed(1) : "–",
      percent(opensThinking),
      percent(refused),
    ];
  });
  print(table([header, ...rows], { right: [1, 2, 3, 4] }));
}

function answerLine(name: string, record: EvalRecord): string {
  const { content, correct, refused, tokens, thinkingTokens } = record;
  const mark = refused ? paint("yellow", "–") : correct ? paint("green", "✓") : paint("red", "✗");
  const thinking = thinkingTokens ? ` (${thinkingTokens} thinking)` : "";
  const figures = `${tokens} tokens${thinking}`;
  const columns = Math.min(columnsOfData(), process.stdout.isTTY ? WIDEST : NARROW);
  const room = Math.max(20, columns - name.length - figures.length - 10);
  const text = clean(content.trim().replaceAll(/\s+/g, " "));
  const cut = text.length > room ? `${text.slice(0, room - 1)}…` : text;
  return `${mark} ${name}  ${cut}  ${paint("dim", figures)}`;
}
