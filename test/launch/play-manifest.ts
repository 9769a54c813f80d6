/**
 * Plays what a cluster does with a Job, on this machine: the kubelet's part (arguments with $(NAME), variables, mounts as
 * paths) and, by the index runner, the Job controller's. A stand-in for no server's schema; the pods are real processes.
 */
import { spawn } from "node:child_process";
import type { TaskEnd } from "../../src/launch/exit-rules.ts";
import type { IndexRules } from "../../src/launch/index-runner.ts";
import type { ConfigMap, Container, Job, PodSpec } from "../../src/launch/kubernetes-objects.ts";

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
}

/** $(NAME) as the kubelet replaces it: by variables that are known, else the text stays. */
function expand(text: string, variables: Readonly<Record<string, string>>): string {
  return text.replaceAll(/\$\$|\$\(([A-Za-z_]\w*)\)/g, (all, name?: string) =>
    all === "$$" ? "$" : (variables[name!] ?? all),
  );
}

function runContainer(container: Container, annotations: Record<string, string>, cluster: Cluster) {
  const variables: Record<string, string> = {};
  for (const variable of container.env) {
    if ("value" in variable) variables[variable.name] = expand(variable.value, variables);
    else {
      const key = /^metadata\.annotations\['(.+)'\]$/.exec(variable.valueFrom.fieldRef.fieldPath)?.[1];
      variables[variable.name] = annotations[key!]!;
    }
  }
  const mounted = (text: string) =>
    Object.entries(cluster.paths).reduce((all, [path, folder]) => all.replaceAll(path, folder), text);
  const args = container.args.map((text) => mounted(expand(text, variables)));
  const [program, ...first] = [...(container.command ?? cluster.program)];
  const child = spawn(program!, [...first, ...args], {
    env: { ...process.env, ...variables },
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
  kill: (signal: NodeJS.Signals) => void;
}

/** One pod: its init containers, then its container. `onStart` may disturb it. */
export async function runPod(
  { initContainers = [], containers }: PodSpec,
  index: number,
  { attempt, cluster, onStart }: { attempt: number; cluster: Cluster; onStart?: (pod: Pod) => void },
): Promise<TaskEnd & { said: string }> {
  const annotations = { "batch.kubernetes.io/job-completion-index": String(index) };
  let said = "";
  let end: TaskEnd = { status: 0 };
  for (const container of [...initContainers, ...containers]) {
    const running = runContainer(container, annotations, cluster);
    onStart?.({ index, attempt, kill: (signal) => void running.child.kill(signal) });
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
