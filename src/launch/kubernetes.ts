/**
 * A task as objects of Kubernetes: a ConfigMap with the recipe, an Indexed Job with an index for each part, and a Job that
 * finishes.
 *
 * The finishing Job is there from the start and waits: a small pod that sleeps, in exchange for one `kubectl apply` and no
 * controller. Of its steps the last is its container, those before are init containers, so that they follow each other.
 *
 * Every pod plans for itself from the recipe: plans are functions of recipe and headers, and the first pod writes its own
 * into the folder, where any other that differed would be refused. A plan of a large model would be too large for a ConfigMap.
 */
import { createHash } from "node:crypto";
import { FINAL_STATUSES, MOST_RETRIES } from "./exit-rules.ts";
import type { LaunchStep } from "./job.ts";
import type {
  Container,
  EnvironmentVariable,
  Job,
  KubernetesObject,
  PodFailureRule,
  PodSpec,
  Volume,
} from "./kubernetes-objects.ts";
import { type ClusterTask, SOURCE_FOLDER, STAGING_FOLDER } from "./kubernetes-tasks.ts";

export interface ClusterWishes {
  image: string;
  /** Instead of the image's entry point. */
  program?: readonly string[];
  tasks: number;
  parallel: number;
  /** Cores of each part. */
  workers: number;
  claims: readonly VolumeClaim[];
  namespace?: string;
  /** Default: from the output's. */
  name?: string;
  /** A quantity: "2Gi". */
  memory: string;
  /** Variables that anybody may read: regions, endpoints. */
  env?: Readonly<Record<string, string>>;
  /** A Secret whose entries become variables: keys of an object store. */
  secret?: string;
}

export interface VolumeClaim {
  claim: string;
  mountPath: string;
  readOnly: boolean;
}

/** What a shard in work needs to be given up, with much to spare. */
const GRACE_SECONDS = 120;
const KEEP_SECONDS = 7 * 86_400;
/** Of a pod that puts nothing together: logs. */
const LITTLE_DISK = "64Mi";

/** Both, and what the objects are called. */
interface Launch extends ClusterWishes {
  task: ClusterTask;
  objectName: string;
}

export function kubernetesObjects(task: ClusterTask, wishes: ClusterWishes): KubernetesObject[] {
  const objectName = wishes.name ?? defaultName(task, wishes);
  const launch: Launch = { ...wishes, task, objectName };
  const hasFiles = Object.keys(task.files).length > 0;
  const config: KubernetesObject[] = [
    {
      ...{ apiVersion: "v1", kind: "ConfigMap", metadata: metadataOf(launch) },
      ...{ immutable: true, data: { ...task.files } },
    },
  ];
  return [...(hasFiles ? config : []), partsJob(launch), finishingJob(launch)];
}

function partsJob(launch: Launch): Job {
  const { task, tasks, parallel, objectName } = launch;
  return {
    ...{ apiVersion: "batch/v1", kind: "Job", metadata: metadataOf(launch) },
    spec: {
      ...{ completionMode: "Indexed", completions: tasks, parallelism: Math.min(parallel, tasks) },
      ...{ backoffLimitPerIndex: MOST_RETRIES, maxFailedIndexes: Math.max(1, Math.ceil(tasks / 10)) },
      podReplacementPolicy: "Failed",
      podFailurePolicy: { rules: failureRules("FailIndex", [task.kind]) },
      ttlSecondsAfterFinished: KEEP_SECONDS,
      template: {
        metadata: { labels: labelsOf(objectName) },
        spec: podSpec(launch, [partContainer(launch)], { stagingGib: stagingGib(task) }),
      },
    },
  };
}

function finishingJob(launch: Launch): Job {
  const { task, objectName } = launch;
  const containers = task.finish.map((step) => stepContainer(launch, step));
  const [first, last] = [containers.slice(0, -1), containers.slice(-1)];
  const names = containers.map(({ name }) => name);
  return {
    ...{ apiVersion: "batch/v1", kind: "Job", metadata: metadataOf(launch, "-finish") },
    spec: {
      ...{ backoffLimit: MOST_RETRIES, podReplacementPolicy: "Failed" },
      podFailurePolicy: { rules: failureRules("FailJob", names) },
      ttlSecondsAfterFinished: KEEP_SECONDS,
      template: {
        metadata: { labels: labelsOf(objectName) },
        // No shard is put together there, but the folder for it is asked for.
        spec: podSpec(launch, last, { first, ...(task.stagingBytes === undefined ? {} : { stagingGib: 1 }) }),
      },
    },
  };
}

/** Evictions do not count; what trying again does not mend is final; all else counts towards the limit. */
function failureRules(action: "FailIndex" | "FailJob", containers: readonly string[]): PodFailureRule[] {
  const values = [...FINAL_STATUSES];
  return [
    { action: "Ignore", onPodConditions: [{ type: "DisruptionTarget", status: "True" }] },
    ...containers.map((containerName) => ({
      action,
      onExitCodes: { containerName, operator: "In" as const, values: [...values] },
    })),
  ];
}

function partContainer(launch: Launch): Container {
  const { task, tasks, workers, memory } = launch;
  const gib = stagingGib(task);
  return container(task.kind, launch, {
    args: [...task.task.map(verbatim), "--part", `$(JOB_COMPLETION_INDEX)/${tasks}`],
    env: [
      // The controller would add it as the last one, where the next could not refer to it.
      {
        name: "JOB_COMPLETION_INDEX",
        valueFrom: {
          fieldRef: { fieldPath: "metadata.annotations['batch.kubernetes.io/job-completion-index']" },
        },
      },
      // The same each time that the index is run: what an earlier pod of it has left on another node is its own.
      { name: "CHIMERA_TASK", value: taskOf(launch, "$(JOB_COMPLETION_INDEX)") },
    ],
    ...{ cpu: String(workers), memory, disk: gib === undefined ? LITTLE_DISK : `${gib}Gi` },
  });
}

function stepContainer(launch: Launch, { name, command }: LaunchStep): Container {
  const { task, workers, memory } = launch;
  return container(name, launch, {
    args: command.map(verbatim),
    env: [{ name: "CHIMERA_TASK", value: taskOf(launch, name) }],
    // Verifying computes; the others wait, mostly.
    cpu: name === "verify" ? String(workers) : "100m",
    ...{ memory: task.stepMemory ?? memory, disk: LITTLE_DISK },
  });
}

function taskOf({ namespace = "", objectName }: Launch, of: string): string {
  return `kubernetes/${namespace}/${objectName}/${of}`;
}

/** The kubelet reads $(NAME) as a variable, and $$ as $. */
function verbatim(text: string): string {
  return text.replaceAll("$", "$$$$");
}

/** Whole ones, with room for the state of uploads. */
function stagingGib({ stagingBytes }: ClusterTask): number | undefined {
  return stagingBytes === undefined ? undefined : Math.ceil((stagingBytes + 2 ** 28) / 2 ** 30);
}

interface ContainerWishes {
  args: string[];
  env: EnvironmentVariable[];
  cpu: string;
  memory: string;
  disk: string;
}

function container(name: string, launch: Launch, wishes: ContainerWishes): Container {
  const { image, program, secret } = launch;
  const { args, cpu, memory, disk } = wishes;
  const given = Object.entries(launch.env ?? {}).map(([name, value]) => ({ name, value: verbatim(value) }));
  return {
    ...{ name, image, ...(program ? { command: program.map(verbatim) } : {}), args },
    env: [...given, ...wishes.env],
    ...(secret === undefined ? {} : { envFrom: [{ secretRef: { name: secret } }] }),
    resources: { requests: { cpu, memory, "ephemeral-storage": disk }, limits: { memory } },
    securityContext: {
      ...{ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true },
      capabilities: { drop: ["ALL"] },
    },
    volumeMounts: mountsOf(launch),
  };
}

function mountsOf({ claims, task }: Launch): Container["volumeMounts"] {
  const hasFiles = Object.keys(task.files).length > 0;
  return [
    ...(hasFiles ? [{ name: "source", mountPath: SOURCE_FOLDER, readOnly: true }] : []),
    ...claims.map(({ mountPath, readOnly }, i) => ({
      ...{ name: `claim-${i}`, mountPath },
      ...(readOnly ? { readOnly } : {}),
    })),
    ...(task.stagingBytes === undefined ? [] : [{ name: "staging", mountPath: STAGING_FOLDER }]),
  ];
}

function podSpec(
  { claims, task, objectName }: Launch,
  containers: Container[],
  { first = [], stagingGib }: { first?: Container[]; stagingGib?: number | undefined },
): PodSpec {
  const hasFiles = Object.keys(task.files).length > 0;
  const volumes: Volume[] = [
    ...(hasFiles ? [{ name: "source", configMap: { name: objectName } }] : []),
    ...claims.map(({ claim, readOnly }, i) => ({
      name: `claim-${i}`,
      persistentVolumeClaim: { claimName: claim, ...(readOnly ? { readOnly } : {}) },
    })),
    ...(stagingGib === undefined ? [] : [{ name: "staging", emptyDir: { sizeLimit: `${stagingGib}Gi` } }]),
  ];
  return {
    ...{ restartPolicy: "Never", terminationGracePeriodSeconds: GRACE_SECONDS },
    automountServiceAccountToken: false,
    securityContext: {
      ...{ runAsNonRoot: true, runAsUser: 1000, runAsGroup: 1000, fsGroup: 1000 },
      // Without it, every pod would walk over a whole checkpoint to change its owner.
      fsGroupChangePolicy: "OnRootMismatch",
      seccompProfile: { type: "RuntimeDefault" },
    },
    ...(first.length > 0 ? { initContainers: first } : {}),
    ...{ containers, volumes },
  };
}

function metadataOf({ objectName, namespace }: Launch, suffix = ""): Job["metadata"] {
  return {
    name: `${objectName}${suffix}`,
    ...(namespace === undefined ? {} : { namespace }),
    labels: labelsOf(objectName),
  };
}

function labelsOf(name: string): Record<string, string> {
  return { "app.kubernetes.io/name": "chimera", "app.kubernetes.io/instance": name };
}

/** The same wishes give the same name, so that applying them again changes nothing; others get another one. */
function defaultName({ files, task, finish, output }: ClusterTask, { tasks, image }: ClusterWishes): string {
  const hash = createHash("sha256").update(JSON.stringify([files, task, finish, tasks, image]));
  const last = output.split("/").findLast((part) => part !== "") ?? "child";
  const base = last
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^-+|-+$/g, "")
    .slice(0, 24);
  return `chimera-${base.replace(/-+$/, "") || "child"}-${hash.digest("hex").slice(0, 8)}`;
}
