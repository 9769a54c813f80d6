/** chimera launch kubernetes: the objects that build a child, sweep or evaluate in a cluster, printed or applied. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { parseBytes } from "../base/format.ts";
import type { VolumeClaim } from "../launch/kubernetes.ts";
import { parseSeconds } from "./build.ts";
import { addPushOptions, type BuildPushOptions } from "./build-push.ts";
import { ExitStatus, UsageError } from "./exit.ts";
import { isStudy, jsonOption, parseTasks } from "./launch.ts";
import { parentOption } from "./plan.ts";
import { note, print, printJson } from "./terminal.ts";

export interface KubernetesCommandOptions extends BuildPushOptions {
  output?: string;
  image: string;
  tasks: number;
  parallel: number;
  workers: number;
  pvc: VolumeClaim[];
  parent?: Record<string, string>;
  namespace?: string;
  name?: string;
  memory: string;
  env?: Record<string, string>;
  secret?: string;
  stagingSize?: number;
  chimera?: string;
  verify: boolean;
  verifyAll?: boolean;
  wait: number;
  dryRun?: boolean;
  json?: boolean;
}

export function addKubernetes(launch: Command): void {
  const command = launch
    .command("kubernetes")
    .description("apply, or print, an Indexed Job with an index for each part, and a Job that finishes")
    .argument("<what...>", "a recipe or a small plan to build; or, after --, a whole sweep or eval command")
    .option("-o, --output <place>", "where the child goes, as pods see it: a folder or s3://BUCKET/PREFIX")
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
    .option("--memory <quantity>", "of each pod: of a study, what the model takes", "2Gi")
    .option("--namespace <name>", "where the objects go (default: that of kubectl's context)")
    .option("--name <name>", "of the objects (default: from the output and a digest)")
    .option("--env <name=value>", "a variable of the pods, which all may read; repeatable", parseVariable)
    .option("--secret <name>", "a Secret whose entries pods get as variables: keys and tokens")
    .option(
      "--staging-size <bytes>",
      "with s3://: the largest shard, a worker's room on the node (default: the recipe's limit, or 8GiB)",
      parseStaging,
    );
  addPushOptions(command)
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
is applied along with it and waits until all parts are done. Paths are those that
pods see; a recipe that lies here goes along. Needs Kubernetes 1.33, or 1.29 with
the features JobBackoffLimitPerIndex and JobPodReplacementPolicy.

Examples:
  $ chimera launch kubernetes recipes/r1t.yaml -o /data/R1T --image registry.example/chimera:0.1 \\
      --pvc models=/data --parent v3=/data/DeepSeek-V3-0324 --parent r1=/data/DeepSeek-R1 --tasks 41 --dry-run
  $ chimera launch kubernetes recipes/r1t.yaml -o s3://bucket/R1T --image registry.example/chimera:0.1 \\
      --parent v3=hf:deepseek-ai/DeepSeek-V3-0324 --parent r1=s3://bucket/DeepSeek-R1 --tasks 41 \\
      --env AWS_REGION=eu-central-1 --secret s3-keys
  $ chimera launch kubernetes --image registry.example/chimera:0.1 --pvc models=/data --tasks 13 \\
      --workers 32 --memory 800Gi -- sweep /data/r1t.yaml --lambda r1=0:1:0.1 -o /data/sweep`,
    )
    .action(run);
}

function parseClaim(text: string, before: VolumeClaim[] = []): VolumeClaim[] {
  const match = /^([a-z0-9][a-z0-9.-]*)=(\/[^:]*)(:ro)?$/.exec(text);
  if (!match) throw new InvalidArgumentError("wanted CLAIM=/PATH or CLAIM=/PATH:ro");
  return [...before, { claim: match[1]!, mountPath: match[2]!, readOnly: match[3] !== undefined }];
}

/** Whoever may read the objects reads these. */
const SECRET_NAME = /SECRET|TOKEN|PASSWORD|API_KEY|ACCESS_KEY/i;
const OURS: ReadonlySet<string> = new Set(["CHIMERA_TASK", "JOB_COMPLETION_INDEX"]);

function parseVariable(text: string, before: Record<string, string> = {}): Record<string, string> {
  const [, name, value] = /^([A-Za-z_]\w*)=(.*)$/s.exec(text) ?? [];
  if (name === undefined) throw new InvalidArgumentError("wanted NAME=VALUE");
  if (OURS.has(name)) throw new InvalidArgumentError(`${name} is set by the launch itself`);
  if (SECRET_NAME.test(name))
    throw new InvalidArgumentError(`all could read ${name} in the objects, wanted it in a Secret: --secret`);
  return { ...before, [name]: value! };
}

function parseStaging(text: string): number {
  const bytes = parseBytes(text) ?? Number.NaN;
  if (bytes >= 2 ** 20 && bytes <= 2 ** 40) return bytes;
  throw new InvalidArgumentError("wanted a size, like 20GB");
}

async function run(words: string[], options: KubernetesCommandOptions): Promise<void> {
  const { clusterBuildOf, clusterStudyOf } = await import("./launch-kubernetes-tasks.ts");
  const { task, workers } = isStudy(words)
    ? await clusterStudyOf(words, options)
    : await clusterBuildOf(words, options);
  const { splitWords } = await import("../launch/shell-words.ts");
  const { image, tasks, parallel, pvc: claims, memory, namespace, name, env, secret, chimera } = options;
  const { kubernetesObjects } = await import("../launch/kubernetes.ts");
  const { manifestFaults } = await import("../launch/kubernetes-rules.ts");
  const objects = kubernetesObjects(task, {
    ...{ image, tasks, parallel, workers, claims, memory },
    ...(namespace === undefined ? {} : { namespace }),
    ...(name === undefined ? {} : { name }),
    ...(env === undefined ? {} : { env }),
    ...(secret === undefined ? {} : { secret }),
    ...(chimera === undefined ? {} : { program: splitWords(chimera) }),
  });
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
