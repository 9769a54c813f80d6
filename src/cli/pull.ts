/** chimera pull: parents, or what a recipe needs of them, to a folder of this machine. */
import type { Command } from "commander";
import { Option } from "commander";
import { formatBytes, formatInteger } from "../base/format.ts";
import { publicLocation } from "../checkpoint/shown.ts";
import type { BuildPlan } from "../plan/plan.ts";
import type { PullPlan } from "../transfer/pull-plan.ts";
import { UsageError } from "./exit.ts";
import { interruptible } from "./interrupt.ts";
import { parentOption } from "./plan.ts";
import { createProgress, PROGRESS_MODES, type ProgressMode } from "./progress.ts";
import { paint, print, printJson, quoted } from "./terminal.ts";

interface PullCommandOptions {
  output: string;
  onlyNeededBy?: string;
  parent?: Record<string, string>;
  dryRun?: boolean;
  json?: boolean;
  progress: ProgressMode;
}

/** One checkpoint and the folder that it goes to. */
interface Job {
  plan: PullPlan;
  folder: string;
  /** The parent of the recipe that it is. */
  parent: string | undefined;
}

export function addPull(program: Command): void {
  program
    .command("pull")
    .description("fetch parents, or only what a recipe needs of them, to this machine")
    .argument(
      "[source...]",
      "hf:ORG/NAME[@REVISION], https://…, s3://… or a folder; PARENT=SOURCE names the recipe's parent",
    )
    .requiredOption("-o, --output <folder>", "where it goes; of several sources each gets a folder below")
    .option("--only-needed-by <recipe>", "only the bytes that this recipe's child is made from")
    .addOption(parentOption("where another parent of the recipe lies; repeatable"))
    .option("--dry-run", "say how many bytes it would fetch, and fetch none")
    .addOption(new Option("--progress <mode>", "progress on stderr").choices(PROGRESS_MODES).default("auto"))
    .option("--json", "the report as JSON on stdout")
    .addHelpText(
      "after",
      `
Stopped or killed, the same command goes on where it was. Without a source, all
parents of the recipe that are not on this machine are fetched.

With --only-needed-by, shards have their true length and headers, and holes where
the recipe needs nothing; reading a hole is an error, never zeros. Whole shards
are checked against their SHA-256 where the source tells it.

Examples:
  $ chimera pull hf:deepseek-ai/DeepSeek-R1 -o ./DeepSeek-R1
  $ chimera pull v3-0324=hf:deepseek-ai/DeepSeek-V3-0324 --only-needed-by r1t.yaml \\
      --parent r1=./DeepSeek-R1 -o ./v3-parts --dry-run`,
    )
    .action(runPull);
}

async function runPull(sources: string[], options: PullCommandOptions): Promise<void> {
  const jobs = options.onlyNeededBy ? await neededJobs(sources, options) : await wholeJobs(sources, options);
  if (options.dryRun) return showDryRun(jobs, options);
  const { pull } = await import("../transfer/pull.ts");
  const progress = createProgress(options.progress, "pull");
  const reports = await interruptible(async (signal) => {
    try {
      const done = [];
      for (const { plan, folder } of jobs) {
        const onEvent = (
          event: Parameters<NonNullable<NonNullable<Parameters<typeof pull>[2]>["onEvent"]>>[0],
        ) => {
          progress.event(event);
          if (event.kind === "progress")
            progress.update({ done: event.bytesDone, total: event.bytesTotal, detail: event.file });
        };
        done.push(await pull(plan, folder, { signal, onEvent }));
      }
      return done;
    } finally {
      progress.end();
    }
  });
  if (options.json) return printJson({ dryRun: false, pulled: reports });
  for (const { source, folder, fetchedBytes, foundBytes, isWhole } of reports) {
    const found = foundBytes > 0 ? `, ${formatBytes(foundBytes)} were there` : "";
    const what = isWhole ? "" : " (what the recipe needs)";
    print(
      `${paint("green", "pulled")}  ${publicLocation(source)} -> ${folder}${what}: ${formatBytes(fetchedBytes)}${found}`,
    );
  }
  showNext(jobs, options);
}

function showNext(jobs: readonly Job[], { onlyNeededBy }: PullCommandOptions): void {
  if (!onlyNeededBy) return;
  const parents = jobs.map(({ parent, folder }) => `--parent ${quoted(`${parent}=${folder}`)}`).join(" ");
  print(paint("dim", `next: chimera build ${quoted(onlyNeededBy)} ${parents} -o CHILD`));
}

function showDryRun(jobs: readonly Job[], { json }: PullCommandOptions): void {
  if (json) {
    const pulls = jobs.map(({ plan, folder, parent }) => {
      const { source, bytes, bytesOfAll, requests } = plan;
      return { source, folder, parent: parent ?? null, bytes, bytesOfAll, requests };
    });
    printJson({ dryRun: true, pulls });
    return;
  }
  for (const { plan, folder } of jobs) {
    const { source, bytes, bytesOfAll, requests } = plan;
    const part = bytesOfAll > 0 ? ((100 * bytes) / bytesOfAll).toFixed(1) : "100";
    print(`${publicLocation(source)} -> ${folder}`);
    print(`  ${formatBytes(bytes)} (${formatInteger(bytes)} bytes) of ${formatBytes(bytesOfAll)}: ${part} %`);
    print(`  ${formatInteger(requests)} requests`);
  }
  print("Dry run: nothing was fetched.");
}

async function wholeJobs(sources: readonly string[], options: PullCommandOptions): Promise<Job[]> {
  if (sources.length === 0)
    throw new UsageError("Cannot pull nothing, wanted a source", "chimera pull hf:ORG/NAME -o FOLDER");
  if (options.parent) throw new UsageError("Cannot use --parent without --only-needed-by");
  const { planWhole } = await import("../transfer/pull-plan.ts");
  const jobs: Job[] = [];
  for (const source of sources)
    jobs.push({ plan: await planWhole(source), folder: options.output, parent: undefined });
  return inFolders(jobs);
}

/** Of several sources each has a folder of its own. */
function inFolders(jobs: readonly Job[]): Job[] {
  if (jobs.length === 1) return [...jobs];
  const sources = new Map<string, string>();
  return jobs.map((job) => {
    const folder = `${job.folder}/${job.parent ?? job.plan.store.label}`;
    const other = sources.get(folder.toLowerCase()); // some disks do not tell them apart
    if (other !== undefined) {
      const what = `Cannot pull ${other} and ${job.plan.source} into "${folder}", wanted a folder for each`;
      throw new UsageError(what, "Pull them one by one, with folders of their own");
    }
    sources.set(folder.toLowerCase(), job.plan.source);
    return { ...job, folder };
  });
}

async function neededJobs(sources: readonly string[], options: PullCommandOptions): Promise<Job[]> {
  const { loadRecipe } = await import("../plan/load-recipe.ts");
  const { parentLocation } = await import("../plan/parents.ts");
  const { planRecipe } = await import("../plan/plan-recipe.ts");
  const { planNeeded } = await import("../transfer/pull-plan.ts");
  const recipe = await loadRecipe(options.onlyNeededBy!);
  const locations: Record<string, string> = { ...options.parent };
  const wanted = new Set<string>();
  const names = recipe.parents.map(({ name }) => name);
  for (const text of sources) {
    const named = /^([^=:/]+)=(.+)$/.exec(text);
    const source = named?.[2] ?? text;
    const name = named?.[1] ?? parentOf(source, recipe.parents);
    if (name === undefined || !names.includes(name)) {
      const what = `Cannot pull "${text}": no parent of the recipe is meant by it, wanted PARENT=${source}`;
      throw new UsageError(what, `The parents are ${names.join(", ")}`);
    }
    locations[name] = source;
    wanted.add(name);
  }
  const plan: BuildPlan = await planRecipe(recipe, { locations });
  if (sources.length === 0)
    for (const ref of recipe.parents)
      if (/^[a-z][a-z0-9+.-]+:/i.test(parentLocation(recipe, ref, { locations }))) wanted.add(ref.name);
  if (wanted.size === 0)
    throw new UsageError(
      "Cannot pull nothing: all parents of the recipe are on this machine",
      "Name a source",
    );
  const jobs: Job[] = [];
  for (const [index, { name }] of plan.parents.entries())
    if (wanted.has(name))
      jobs.push({ plan: await planNeeded(plan, index), folder: options.output, parent: name });
  return inFolders(jobs);
}

/** The parent that a source is: by its place in the recipe, or by the last part of both. */
function parentOf(source: string, parents: readonly { name: string; path: string }[]): string | undefined {
  const lastOf = (text: string) =>
    text
      .replace(/@.*$/, "")
      .split(/[/:]/)
      .findLast((part) => part !== "");
  const same = parents.filter(({ path }) => path === source || lastOf(path) === lastOf(source));
  return same.length === 1 ? same[0]!.name : undefined;
}
