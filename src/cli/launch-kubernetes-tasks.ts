/**
 * From what was said to what pods run. Nothing of it can be tried here: what a pod would not find is refused, and a recipe
 * that lies on this machine goes along with the objects.
 */
import { basename, isAbsolute } from "node:path";
import { Command } from "commander";
import type { VolumeClaim } from "../launch/kubernetes.ts";
import type { ClusterTask } from "../launch/kubernetes-tasks.ts";
import type { BuildPlan } from "../plan/plan.ts";
import type { Recipe } from "../recipe/recipe.ts";
import { pushWishes, refusePushContradictions } from "./build-push.ts";
import { UsageError } from "./exit.ts";
import type { KubernetesCommandOptions } from "./launch-kubernetes.ts";

export interface WantedTask {
  task: ClusterTask;
  /** Cores of each part. */
  workers: number;
}

const MOST_TEXT = 2_000_000_000;
/** Where the base decides the shards' sizes: those of DeepSeek's are up to 7 GB. */
const USUAL_SHARD = 8 * 2 ** 30;

export async function clusterBuildOf(
  [path, ...more]: readonly string[],
  options: KubernetesCommandOptions,
): Promise<WantedTask> {
  const { output, pvc, workers, verify, verifyAll, wait: waitSeconds, parent: moved = {} } = options;
  if (more.length > 0)
    throw new UsageError(
      `Cannot launch "${more[0]}" beside "${path}", wanted one recipe or plan`,
      "A sweep or an evaluation comes after --",
    );
  if (output === undefined)
    throw new UsageError("Cannot launch a build without -o, wanted where the child goes");
  const push = await pushWishes(options, output);
  if (push && options.secret === undefined)
    throw new UsageError(
      "Cannot push from pods without a token, wanted a Secret with HF_TOKEN",
      "kubectl create secret generic hub --from-literal=HF_TOKEN=…, and --secret hub",
    );
  const { isPlanFile, loadPlan, loadRecipe } = await import("../plan/load-recipe.ts");
  const isPlan = await isPlanFile(path!);
  if (isPlan && options.parent)
    throw new UsageError("Cannot use --parent with a plan, wanted a recipe", "A plan has its parents in it");
  const what = isPlan ? await loadPlan(path!) : await loadRecipe(path!);
  const parents = parentsOf(what, moved);
  await requireOutput(output, pvc);
  for (const [name, location] of Object.entries(parents)) await requireParent(name, location, pvc);
  const { clusterBuild, isObjectStore } = await import("../launch/kubernetes-tasks.ts");
  if (options.stagingSize !== undefined && !isObjectStore(output))
    throw new UsageError(`Cannot use --staging-size with "${output}": shards are put together there`);
  const { readTextFile } = await import("../checkpoint/node.ts");
  const text = await readTextFile(path!, MOST_TEXT);
  const task = clusterBuild({
    source: { text, fileName: isPlan ? "plan.json" : "recipe.yaml" },
    ...{ output, parents, workers, verify, waitSeconds },
    shardBytes: options.stagingSize ?? largestShard(what),
    ...(verifyAll ? { verifyAll } : {}),
    ...(push ? { push } : {}),
  });
  return { task, workers };
}

function largestShard(what: BuildPlan | Recipe): number {
  if ("shards" in what) return Math.max(...what.shards.map(({ byteLength }) => byteLength));
  const { maxShardSize } = what.output;
  return typeof maxShardSize === "number" ? maxShardSize : USUAL_SHARD;
}

/** By name, as pods see them. */
function parentsOf(
  what: BuildPlan | Recipe,
  moved: Readonly<Record<string, string>>,
): Record<string, string> {
  const named =
    "shards" in what
      ? what.parents.map(({ name, location }) => [name, location] as const)
      : what.parents.map(({ name, path }) => [name, path] as const);
  const unknown = Object.keys(moved).find((name) => !named.some(([known]) => known === name));
  if (unknown !== undefined)
    throw new UsageError(
      `Cannot use --parent ${unknown}=…: the recipe has no such parent, wanted one of ${named.map(([name]) => name).join(", ")}`,
    );
  return Object.fromEntries(named.map(([name, path]) => [name, moved[name] ?? path]));
}

/** Of options that a study has after --. */
interface StudyWords {
  out?: string;
  tasks?: string[];
  parent?: Record<string, string>;
  threads?: number;
  part?: object;
  wait?: number;
  dryRun?: boolean;
  json?: boolean;
}

const OF_LAUNCH: readonly [keyof StudyWords, string][] = [
  ["part", "--part"],
  ["wait", "--wait"],
  ["dryRun", "--dry-run"],
];

/** The whole sweep or eval command. Throws UsageError for what pods would not find. */
export async function clusterStudyOf(
  words: readonly string[],
  options: KubernetesCommandOptions,
): Promise<WantedTask> {
  const kind = words[0] === "eval" ? "eval" : "sweep";
  const refused = (["output", "parent", "push", "stagingSize"] as const).find(
    (key) => options[key] !== undefined,
  );
  if (refused !== undefined)
    throw new UsageError(
      `Cannot use --${refused === "stagingSize" ? "staging-size" : refused} with ${kind}: it is for builds, wanted the command's own options after --`,
    );
  refusePushContradictions(options, { output: "" });
  const { operands, given } = await readWords(kind, words.slice(1));
  const { pvc } = options;
  const { out, tasks = [], parent = {} } = given;
  const own = OF_LAUNCH.find(([key]) => given[key] !== undefined);
  if (own)
    throw new UsageError(
      `Cannot launch ${kind} with ${own[1]} after --: the launch says it, wanted it before`,
    );
  if (out === undefined)
    throw new UsageError(`Cannot launch ${kind} without -o, wanted a folder that all pods share`);
  await requireFolder(out, pvc);
  for (const [name, location] of Object.entries(parent)) await requireParent(name, location, pvc);
  for (const file of tasks) requireMounted(`ask the questions of "${file}"`, file, pvc);
  const carried = new Map<string, string>();
  const files: Record<string, string> = {};
  for (const operand of operands) {
    const label = /^([\w.-]+=)?(.+)$/s.exec(operand)!;
    const location = kind === "eval" ? label[2]! : operand;
    if (HAS_SCHEME.test(location) || mountOf(location, pvc)) continue;
    const name = await carry(location, { parent, pvc, files });
    carried.set(operand, `${kind === "eval" ? (label[1] ?? "") : ""}${name}`);
  }
  const threads = given.threads ?? options.workers;
  const { clusterStudy } = await import("../launch/kubernetes-tasks.ts");
  const command = words.map((word) => carried.get(word) ?? word);
  const task = clusterStudy({
    ...{ kind, files, output: out, waitSeconds: options.wait },
    words: given.threads === undefined ? [...command, "--threads", String(threads)] : command,
  });
  return { task, workers: threads };
}

/** As the command itself would read them; it is not run. */
async function readWords(
  kind: "sweep" | "eval",
  words: readonly string[],
): Promise<{ operands: string[]; given: StudyWords }> {
  const program = new Command().exitOverride();
  if (kind === "sweep") (await import("./sweep.ts")).addSweep(program);
  else (await import("./eval.ts")).addEval(program);
  const command = program.commands[0]!.exitOverride();
  const { operands, unknown } = command.parseOptions([...words]);
  if (unknown.length > 0)
    throw new UsageError(`Cannot launch ${kind}: it has no option ${unknown[0]}`, `chimera ${kind} --help`);
  if (operands.length === 0 || (kind === "sweep" && operands.length > 1))
    throw new UsageError(
      `Cannot launch ${kind} of ${operands.length} places, wanted ${kind === "sweep" ? "one" : "one or more"}`,
    );
  return { operands, given: command.opts() };
}

/** A recipe of this machine goes along; its path in the pods. */
async function carry(
  path: string,
  {
    parent,
    pvc,
    files,
  }: { parent: Readonly<Record<string, string>>; pvc: readonly VolumeClaim[]; files: Record<string, string> },
): Promise<string> {
  const { namesRecipe } = await import("../study/study-file.ts");
  if (!(await namesRecipe(path)))
    throw new UsageError(
      `Cannot use "${path}": it is no recipe of this machine and no volume is mounted there, wanted one of them`,
      "A recipe goes along with the objects; all else lies on a volume, or is hf:…, https://… or s3://…",
    );
  const { loadRecipe } = await import("../plan/load-recipe.ts");
  const { readTextFile } = await import("../checkpoint/node.ts");
  const { SOURCE_FOLDER } = await import("../launch/kubernetes-tasks.ts");
  const recipe = await loadRecipe(path);
  for (const { name, path: own } of recipe.parents) await requireParent(name, parent[name] ?? own, pvc);
  const text = await readTextFile(path, MOST_TEXT);
  const plain = basename(path).replaceAll(/[^\w.-]+/g, "-");
  let name = plain;
  for (let number = 2; files[name] !== undefined && files[name] !== text; number++)
    name = plain.replace(/(?=\.\w+$)/, `-${number}`);
  files[name] = text;
  return `${SOURCE_FOLDER}/${name}`;
}

const HAS_SCHEME = /^[a-z][a-z0-9+.-]+:/i;

function mountOf(path: string, pvc: readonly VolumeClaim[]): VolumeClaim | undefined {
  if (!isAbsolute(path)) return undefined;
  return pvc.find(({ mountPath }) =>
    `${path}/`.startsWith(mountPath.endsWith("/") ? mountPath : `${mountPath}/`),
  );
}

/** What a pod keeps outside its volumes ends with it; what lies on this machine it cannot see. */
function requireMounted(what: string, path: string, pvc: readonly VolumeClaim[], hint?: string): VolumeClaim {
  const mount = mountOf(path, pvc);
  if (mount) return mount;
  throw new UsageError(
    `Cannot ${what}: no volume is mounted there, wanted a path within one`,
    hint ?? "--pvc CLAIM=/data mounts one; paths are as pods see them",
  );
}

async function requireOutput(output: string, pvc: readonly VolumeClaim[]): Promise<void> {
  // Stores by a scheme are reached from everywhere, where this version knows the scheme.
  const { openOutput } = await import("../checkpoint/stores.ts");
  if (HAS_SCHEME.test(output)) openOutput(output);
  else await requireFolder(output, pvc);
}

async function requireFolder(folder: string, pvc: readonly VolumeClaim[]): Promise<void> {
  const hint = "--pvc CLAIM=/data mounts one; -o is a path as pods see it";
  if (requireMounted(`write to "${folder}"`, folder, pvc, hint).readOnly)
    throw new UsageError(`Cannot write to "${folder}": its volume is mounted read-only, wanted one to write`);
}

async function requireParent(name: string, location: string, pvc: readonly VolumeClaim[]): Promise<void> {
  const { openStore } = await import("../checkpoint/stores.ts");
  if (HAS_SCHEME.test(location)) return void openStore(location);
  const hint = `--parent ${name}=/data/… says where pods see it`;
  requireMounted(`use the parent "${name}" in "${location}"`, location, pvc, hint);
}
