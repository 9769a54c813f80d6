/** chimera launch kubernetes: the objects that build a child in a cluster, printed or applied. */
import { isAbsolute } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import type { KubernetesWishes, VolumeClaim } from "../launch/kubernetes.ts";
import { ExitStatus, UsageError } from "./exit.ts";
import { jsonOption, parseTasks } from "./launch.ts";
import { parentOption } from "./plan.ts";
import { note, print, printJson } from "./terminal.ts";

interface KubernetesCommandOptions {
  output: string;
  image: string;
  tasks: number;
  parallel: number;
  workers: number;
  pvc: VolumeClaim[];
  parent?: Record<string, string>;
  namespace?: string;
  name?: string;
  memory: string;
  secret?: string;
  chimera?: string;
  verify: boolean;
  verifyAll?: boolean;
  wait: number;
  dryRun?: boolean;
  json?: boolean;
}

export function addKubernetes(launch: Command): void {
  launch
    .command("kubernetes")
    .description("apply, or print, an Indexed Job with an index for each part, and a Job that finishes")
    .argument("<recipe>", "a recipe, or a small plan; parents are looked at in the pods, not here")
    .requiredOption("-o, --output <folder>", "where the child goes, as pods see it")
    .requiredOption("--image <name>", "an image whose entry point is chimera (deploy/Dockerfile)")
    .requiredOption("--tasks <n>", "parts", parseTasks)
    .addOption(
      new Option("--pvc <claim=path[:ro]>", "a volume claim and where pods mount it; repeatable")
        .argParser(parseClaim)
        .default([], "none"),
    )
    .addOption(parentOption("where a parent lies, as pods see it; repeatable"))
    .option("--parallel <n>", "pods at a time", parseTasks, 8)
    .option("--workers <n>", "worker threads, and cores, of each pod", parseTasks, 2)
    .option("--memory <quantity>", "of each pod; the plan of a large model takes some of it", "2Gi")
    .option("--namespace <name>", "where the objects go (default: that of kubectl's context)")
    .option("--name <name>", "of the objects (default: from the output and a digest)")
    .option("--secret <name>", "a Secret whose entries pods get as variables: keys of an object store")
    .option("--chimera <command>", "how pods call chimera (default: the image's entry point)")
    .option("--wait <seconds>", "how long finishing waits for the parts", parseSeconds, 86_400)
    .option("--verify-all", "at the end, compute every merged tensor again, not a sample")
    .option("--no-verify", "do not verify the child at the end")
    .option("--dry-run", "print the YAML, and apply nothing")
    .addOption(jsonOption("the objects as JSON on stdout, with --dry-run"))
    .addHelpText(
      "after",
      `
An index that ends with 2, 3 or 4 has failed for good; evictions do not count; all
else is tried again, five times, with Kubernetes' own back-off. The finishing Job
is applied along with it and waits until all shards are there. Needs Kubernetes
1.33, or 1.29 with the features JobBackoffLimitPerIndex and JobPodReplacementPolicy.

Examples:
  $ chimera launch kubernetes recipes/r1t.yaml -o /data/R1T --image registry.example/chimera:0.1 \\
      --pvc models=/data --parent v3=/data/DeepSeek-V3-0324 --parent r1=/data/DeepSeek-R1 --tasks 41 --dry-run`,
    )
    .action(run);
}

function parseClaim(text: string, before: VolumeClaim[] = []): VolumeClaim[] {
  const match = /^([a-z0-9][a-z0-9.-]*)=(\/[^:]*)(:ro)?$/.exec(text);
  if (!match) throw new InvalidArgumentError("wanted CLAIM=/PATH or CLAIM=/PATH:ro");
  return [...before, { claim: match[1]!, mountPath: match[2]!, readOnly: match[3] !== undefined }];
}

function parseSeconds(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1) return value;
  throw new InvalidArgumentError("wanted a whole number of seconds");
}

async function run(path: string, options: KubernetesCommandOptions): Promise<void> {
  const wishes = await wishesOf(path, options);
  const { kubernetesObjects } = await import("../launch/kubernetes.ts");
  const { manifestFaults } = await import("../launch/kubernetes-rules.ts");
  const objects = kubernetesObjects(wishes);
  const faults = manifestFaults(objects);
  if (faults.length > 0)
    throw new UsageError(
      `Cannot launch on Kubernetes: ${faults[0]}`,
      faults.slice(1).join("\n") || undefined,
    );
  const { manifestText } = await import("../launch/kubernetes-text.ts");
  const yaml = manifestText(objects);
  if (options.dryRun) {
    if (options.json) printJson({ objects });
    else print(yaml.trimEnd());
    return;
  }
  const { capture } = await import("../launch/processes.ts");
  const said = await capture(["kubectl", "apply", "-f", "-"], { input: yaml });
  if (!said) {
    throw new UsageError(
      'Cannot launch on Kubernetes: there is no "kubectl" on the PATH',
      "--dry-run prints the YAML, for whoever applies it",
    );
  }
  if (said.stdout !== "") print(said.stdout.trimEnd());
  if (said.status === 0) return;
  note(said.stderr.trimEnd());
  throw new ExitStatus(1);
}

async function wishesOf(path: string, options: KubernetesCommandOptions): Promise<KubernetesWishes> {
  const { isPlanFile, loadPlan, loadRecipe } = await import("../plan/load-recipe.ts");
  const isPlan = await isPlanFile(path);
  const { readTextFile } = await import("../checkpoint/node.ts");
  const moved = options.parent ?? {};
  if (isPlan && options.parent)
    throw new UsageError("Cannot use --parent with a plan, wanted a recipe", "A plan has its parents in it");
  const named = isPlan
    ? (await loadPlan(path)).parents.map(({ name, location }) => ({ name, path: location }))
    : (await loadRecipe(path)).parents;
  const unknown = Object.keys(moved).find((name) => !named.some((parent) => parent.name === name));
  if (unknown !== undefined)
    throw new UsageError(
      `Cannot use --parent ${unknown}=…: the recipe has no such parent, wanted one of ${named.map(({ name }) => name).join(", ")}`,
    );
  const parents = Object.fromEntries(named.map(({ name, path }) => [name, moved[name] ?? path]));
  await requireMounted(options, parents);
  const { namespace, name, secret, verifyAll, chimera, pvc: claims, wait: waitSeconds } = options;
  const { output, image, tasks, parallel, workers, memory, verify } = options;
  const { splitWords } = await import("../launch/shell-words.ts");
  return {
    source: {
      text: await readTextFile(path, 2_000_000_000),
      fileName: isPlan ? "plan.json" : "recipe.yaml",
    },
    ...{ output, parents, image, tasks, parallel, workers, claims, memory, verify, waitSeconds },
    ...(namespace === undefined ? {} : { namespace }),
    ...(name === undefined ? {} : { name }),
    ...(secret === undefined ? {} : { secret }),
    ...(verifyAll ? { verifyAll } : {}),
    ...(chimera === undefined ? {} : { program: splitWords(chimera) }),
  };
}

const HAS_SCHEME = /^[a-z][a-z0-9+.-]+:/i;

/** What a pod keeps outside its volumes ends with it; what lies on this machine it cannot see. */
async function requireMounted(
  { output, pvc }: KubernetesCommandOptions,
  parents: Readonly<Record<string, string>>,
): Promise<void> {
  const { openOutput, openStore } = await import("../checkpoint/stores.ts");
  const mountOf = (path: string) =>
    pvc.find(({ mountPath }) => `${path}/`.startsWith(mountPath.endsWith("/") ? mountPath : `${mountPath}/`));
  // Stores by a scheme are reached from everywhere, where this version knows the scheme.
  if (HAS_SCHEME.test(output)) openOutput(output);
  else if (!isAbsolute(output) || !mountOf(output))
    throw new UsageError(
      `Cannot build in "${output}": no volume is mounted there, wanted a path within one`,
      "--pvc CLAIM=/data mounts one; -o is a path as pods see it",
    );
  else if (mountOf(output)!.readOnly)
    throw new UsageError(`Cannot build in "${output}": its volume is mounted read-only, wanted one to write`);
  for (const [name, location] of Object.entries(parents)) {
    if (HAS_SCHEME.test(location)) openStore(location);
    else if (!isAbsolute(location) || !mountOf(location))
      throw new UsageError(
        `Cannot use the parent "${name}" in "${location}": no volume is mounted there, wanted a path within one`,
        `--parent ${name}=/data/… says where pods see it`,
      );
  }
}
