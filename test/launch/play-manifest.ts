/**
 * Plays what a cluster does with a Job, on this machine: the kubelet's part (arguments with $(NAME), variables, mounts as
 * paths) and, by the index runner, the Job controller's. A stand-in for no server's schema; the pods are real processes.
 */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { TaskEnd } from "../../src/launch/exit-rules.ts";
import { type IndexesReport, type IndexRules, runIndexes } from "../../src/launch/index-runner.ts";
import type {
  ConfigMap,
  Container,
  Job,
  KubernetesObject,
  PodSpec,
} from "../../src/launch/kubernetes-objects.ts";

/** The rules that a Job states, for the runner. */
export function rulesOf({ spec }: Job, { backoffMs = 0 }: { backoffMs?: number } = {}): IndexRules {
  const { completions, parallelism, backoffLimitPerIndex, maxFailedIndexes, podFailurePolicy } = spec;
  return {
    completions: completions ?? 1,
    parallelism: parallelism ?? 1,
    backoffLimitPerIndex: backoffLimitPerIndex ?? spec.backoffLimit ?? 6,
    ...(maxFailedIndexes === undefined ? {} : { maxFailedIndexes }),
    failurePolicy: podFailurePolicy.rules.map(({ action, onExitCodes, onPodConditions }) => ({
      action,
      ...(onExitCodes ? { exitCodes: onExitCodes } : {}),
      ...(onPodConditions?.some(({ type }) => type === "DisruptionTarget") ? { isDisruption: true } : {}),
    })),
    ...{ backoffMs, longestBackoffMs: 360_000 },
  };
}

export interface Cluster {
  /** What an image's entry point is here. */
  program: readonly string[];
  /** Mount paths as folders of this machine; texts of the ConfigMap go to files that the caller has written. */
  paths: Readonly<Record<string, string>>;
  /** Of the nodes' own disks: each pod gets a new folder there for each emptyDir. */
  scratch?: string;
  secrets?: Readonly<Record<string, Record<string, string>>>;
  /** Variables of a pod that no manifest has: its node's. */
  nodeOf?: (index: number, attempt: number) => Record<string, string>;
}

/** What one apply makes: files of the ConfigMap in a folder, and the Jobs. */
export function applied(
  objects: readonly KubernetesObject[],
  folder: string,
): { config: string; job: Job; finish: Job } {
  const config = join(folder, "config");
  mkdirSync(config);
  const texts = Object.entries(objects.find(isConfigMap)?.data ?? {});
  for (const [name, text] of texts) writeFileSync(join(config, name), text);
  const [job, finish] = objects.filter(isJob) as [Job, Job];
  return { config, job, finish };
}

/** Runs a Job to its end. `disturb` may do something to a pod, and says whether its end is a disruption. */
export function playJob(
  job: Job,
  cluster: Cluster,
  { disturb }: { disturb?: (pod: Pod) => Promise<boolean> } = {},
): Promise<IndexesReport> {
  return runIndexes(rulesOf(job), async (index, attempt) => {
    let disruption: Promise<boolean> | undefined;
    const onStart = (pod: Pod) => {
      disruption = disturb?.(pod);
    };
    const end = await runPod(job.spec.template.spec, index, { attempt, cluster, onStart });
    const isDisrupted = (await disruption) === true;
    return { ...end, ...(isDisrupted ? { isDisrupted } : {}) };
  });
}

/** Does something to a pod when it is known to be at work. The test's own time limit is the end of waiting. */
export async function when(condition: () => boolean, then: () => void): Promise<void> {
  while (!condition()) await sleep(10);
  then();
}

/** $(NAME) as the kubelet replaces it: by variables that are known, else the text stays. */
function expand(text: string, variables: Readonly<Record<string, string>>): string {
  return text.replaceAll(/\$\$|\$\(([A-Za-z_]\w*)\)/g, (all, name?: string) =>
    all === "$$" ? "$" : (variables[name!] ?? all),
  );
}

interface Node {
  annotations: Record<string, string>;
  /** Of this pod alone. */
  paths: Readonly<Record<string, string>>;
  variables: Record<string, string>;
}

function runContainer(container: Container, { annotations, paths, ...node }: Node, cluster: Cluster) {
  const variables: Record<string, string> = {};
  for (const { secretRef } of container.envFrom ?? [])
    Object.assign(variables, cluster.secrets?.[secretRef.name]);
  for (const variable of container.env) {
    if ("value" in variable) variables[variable.name] = expand(variable.value, variables);
    else {
      const key = /^metadata\.annotations\['(.+)'\]$/.exec(variable.valueFrom.fieldRef.fieldPath)?.[1];
      variables[variable.name] = annotations[key!]!;
    }
  }
  const mounted = (text: string) =>
    Object.entries({ ...cluster.paths, ...paths }).reduce(
      (all, [path, folder]) => all.replaceAll(path, folder),
      text,
    );
  const args = container.args.map((text) => mounted(expand(text, variables)));
  const [program, ...first] = [...(container.command ?? cluster.program)];
  const child = spawn(program!, [...first, ...args], {
    env: { ...process.env, ...node.variables, ...variables },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
  const end = new Promise<TaskEnd>((resolve, reject) => {
    child.on("error", reject);
    // As the kubelet reports it: a container that a signal ended has status 128 + its number.
    child.on("close", (status, signal) =>
      resolve({ status: status ?? 128 + (signal === "SIGKILL" ? 9 : 15) }),
    );
  });
  return { child, end, said: () => said };
}

export interface Pod {
  index: number;
  attempt: number;
  /** Of the container that runs. */
  pid: number;
  kill: (signal: NodeJS.Signals) => void;
}

/** One pod: its init containers, then its container. `onStart` may disturb it. */
export async function runPod(
  { initContainers = [], containers, volumes }: PodSpec,
  index: number,
  { attempt, cluster, onStart }: { attempt: number; cluster: Cluster; onStart?: (pod: Pod) => void },
): Promise<TaskEnd & { said: string }> {
  const paths: Record<string, string> = {};
  for (const { name } of volumes.filter((volume) => "emptyDir" in volume)) {
    const { mountPath } = containers[0]!.volumeMounts.find((mount) => mount.name === name)!;
    paths[mountPath] = mkdtempSync(join(cluster.scratch!, `${name}-`));
  }
  const node: Node = {
    annotations: { "batch.kubernetes.io/job-completion-index": String(index) },
    ...{ paths, variables: cluster.nodeOf?.(index, attempt) ?? {} },
  };
  let said = "";
  let end: TaskEnd = { status: 0 };
  for (const container of [...initContainers, ...containers]) {
    const running = runContainer(container, node, cluster);
    onStart?.({
      ...{ index, attempt, pid: running.child.pid! },
      kill: (signal) => void running.child.kill(signal),
    });
    end = await running.end;
    said += running.said();
    if (end.status !== 0) break;
  }
  return { ...end, said };
}

export function isJob(object: { kind: string }): object is Job {
  return object.kind === "Job";
}

export function isConfigMap(object: { kind: string }): object is ConfigMap {
  return object.kind === "ConfigMap";
}
