/**
 * A build as objects of Kubernetes: a ConfigMap with the recipe, an Indexed Job with an index for each part, and a Job that
 * finishes.
 *
 * Kubernetes knows no order between Jobs. The finishing one is there from the start and waits (`build --finish --wait`) for
 * the shards, which it sees in the folder: a small pod that sleeps, in exchange for one `kubectl apply` and no controller.
 * Verifying is its main container, finishing its init container, so that the one follows the other.
 *
 * Every pod plans for itself from the recipe: plans are functions of recipe and headers, and the first pod writes its own
 * into the folder, where any other that differed would be refused. A plan of a large model would be too large for a ConfigMap.
 */
import { createHash } from "node:crypto";
import { FINAL_STATUSES, MOST_RETRIES } from "./exit-rules.ts";
import type {
  Container,
  EnvironmentVariable,
  Job,
  KubernetesObject,
  PodFailureRule,
  PodSpec,
  Volume,
} from "./kubernetes-objects.ts";

export interface KubernetesWishes {
  /** Text of a recipe, or of a small plan, and what it is called in the pods. */
  source: { text: string; fileName: "recipe.yaml" | "plan.json" };
  /** As a pod sees it, like everything below. */
  output: string;
  parents: Readonly<Record<string, string>>;
  image: string;
  /** Instead of the image's entry point. */
  program?: readonly string[];
  tasks: number;
  parallel: number;
  workers: number;
  claims: readonly VolumeClaim[];
  namespace?: string;
  /** Default: from the output's. */
  name?: string;
  /** A quantity: "2Gi". */
  memory: string;
  /** A Secret whose entries become variables: keys of an object store. */
  secret?: string;
  verify: boolean;
  verifyAll?: boolean;
  /** Seconds that finishing waits for all parts. */
  waitSeconds: number;
}

export interface VolumeClaim {
  claim: string;
  mountPath: string;
  readOnly: boolean;
}

const SOURCE_FOLDER = "/etc/chimera";
/** Where shards lie that go to an object store; a worker has one or two of them, of up to 6 GB in DeepSeek's layout. */
const STAGING_FOLDER = "/staging";
const STAGED_GIB = 14;
/** What a shard in work needs to be given up, with much to spare. */
const GRACE_SECONDS = 120;
const KEEP_SECONDS = 7 * 86_400;

export function kubernetesObjects(wishes: KubernetesWishes): KubernetesObject[] {
  const name = wishes.name ?? defaultName(wishes);
  const metadata = (suffix: string) => ({
    name: `${name}${suffix}`,
    ...(wishes.namespace === undefined ? {} : { namespace: wishes.namespace }),
    labels: labelsOf(name),
  });
  const { source, tasks, parallel } = wishes;
  return [
    {
      ...{ apiVersion: "v1", kind: "ConfigMap", metadata: metadata("") },
      ...{ immutable: true, data: { [source.fileName]: source.text } },
    },
    {
      ...{ apiVersion: "batch/v1", kind: "Job", metadata: metadata("") },
      spec: {
        ...{ completionMode: "Indexed", completions: tasks, parallelism: Math.min(parallel, tasks) },
        ...{ backoffLimitPerIndex: MOST_RETRIES, maxFailedIndexes: Math.max(1, Math.ceil(tasks / 10)) },
        ...{
          podReplacementPolicy: "Failed",
          podFailurePolicy: { rules: failureRules("FailIndex", ["build"]) },
        },
        ttlSecondsAfterFinished: KEEP_SECONDS,
        template: {
          metadata: { labels: labelsOf(name) },
          spec: podSpec(name, wishes, [partContainer(name, wishes)]),
        },
      },
    },
    finishingJob(name, wishes, metadata("-finish")),
  ];
}

function finishingJob(name: string, wishes: KubernetesWishes, metadata: Job["metadata"]): Job {
  const { output, verify, verifyAll, waitSeconds } = wishes;
  const finish = container("finish", wishes, {
    args: ["build", ...buildArguments(wishes), "--finish", "--wait", String(waitSeconds)],
    env: [{ name: "CHIMERA_TASK", value: `kubernetes/${wishes.namespace ?? ""}/${name}/finish` }],
  });
  const verifying = container("verify", wishes, {
    args: ["verify", output, ...(verifyAll ? ["--all"] : [])],
    env: [],
  });
  const [containers, first] = verify ? [[verifying], [finish]] : [[finish], []];
  const names = [...first, ...containers].map(({ name }) => name);
  return {
    ...{ apiVersion: "batch/v1", kind: "Job", metadata },
    spec: {
      ...{ backoffLimit: MOST_RETRIES, podReplacementPolicy: "Failed" },
      ...{
        podFailurePolicy: { rules: failureRules("FailJob", names) },
        ttlSecondsAfterFinished: KEEP_SECONDS,
      },
      template: { metadata: { labels: labelsOf(name) }, spec: podSpec(name, wishes, containers, first) },
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

function partContainer(name: string, wishes: KubernetesWishes): Container {
  const { tasks, workers, namespace = "" } = wishes;
  const part = ["--workers", String(workers), "--part", `$(JOB_COMPLETION_INDEX)/${tasks}`];
  return container("build", wishes, {
    args: ["build", ...buildArguments(wishes), ...part],
    env: [
      // The controller would add it as the last one, where the next could not refer to it.
      {
        name: "JOB_COMPLETION_INDEX",
        valueFrom: {
          fieldRef: { fieldPath: "metadata.annotations['batch.kubernetes.io/job-completion-index']" },
        },
      },
      { name: "CHIMERA_TASK", value: `kubernetes/${namespace}/${name}/$(JOB_COMPLETION_INDEX)` },
    ],
  });
}

function buildArguments({ source, output, parents }: KubernetesWishes): string[] {
  // A plan has its parents in it.
  const moved = source.fileName === "plan.json" ? [] : Object.entries(parents);
  return [
    ...[`${SOURCE_FOLDER}/${source.fileName}`, "-o", output],
    ...moved.flatMap(([parent, location]) => ["--parent", `${parent}=${location}`]),
    ...(isElsewhere(output) ? ["--staging", STAGING_FOLDER] : []),
  ];
}

/** An object store: shards are put together on the node before they go there. */
function isElsewhere(output: string): boolean {
  return /^[a-z][a-z0-9+.-]+:\/\//i.test(output);
}

function container(
  name: string,
  { image, program, workers, memory, claims, secret, output }: KubernetesWishes,
  { args, env }: { args: string[]; env: EnvironmentVariable[] },
): Container {
  // Finishing waits, mostly; verifying computes.
  const cpu = name === "finish" ? "100m" : String(workers);
  const isStaging = isElsewhere(output);
  const disk = isStaging && name === "build" ? `${STAGED_GIB * workers}Gi` : "64Mi";
  return {
    ...{ name, image, ...(program ? { command: [...program] } : {}), args, env },
    ...(secret === undefined ? {} : { envFrom: [{ secretRef: { name: secret } }] }),
    resources: { requests: { cpu, memory, "ephemeral-storage": disk }, limits: { memory } },
    securityContext: {
      ...{ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true },
      capabilities: { drop: ["ALL"] },
    },
    volumeMounts: [
      { name: "source", mountPath: SOURCE_FOLDER, readOnly: true },
      ...claims.map(({ mountPath, readOnly }, i) => ({
        ...{ name: `claim-${i}`, mountPath },
        ...(readOnly ? { readOnly } : {}),
      })),
      ...(isStaging ? [{ name: "staging", mountPath: STAGING_FOLDER }] : []),
    ],
  };
}

function podSpec(
  name: string,
  { claims, output }: KubernetesWishes,
  containers: Container[],
  first: Container[] = [],
): PodSpec {
  const volumes: Volume[] = [
    { name: "source", configMap: { name } },
    ...claims.map(({ claim, readOnly }, i) => ({
      name: `claim-${i}`,
      persistentVolumeClaim: { claimName: claim, ...(readOnly ? { readOnly } : {}) },
    })),
    ...(isElsewhere(output) ? [{ name: "staging", emptyDir: {} }] : []),
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

function labelsOf(name: string): Record<string, string> {
  return { "app.kubernetes.io/name": "chimera", "app.kubernetes.io/instance": name };
}

/** The same wishes give the same name, so that applying them again changes nothing; others get another one. */
function defaultName(wishes: KubernetesWishes): string {
  const { source, output, parents, tasks, image } = wishes;
  const hash = createHash("sha256").update(JSON.stringify([source, output, parents, tasks, image]));
  const last = output.split("/").findLast((part) => part !== "") ?? "child";
  const base = last
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^-+|-+$/g, "")
    .slice(0, 24);
  return `chimera-${base.replace(/-+$/, "") || "child"}-${hash.digest("hex").slice(0, 8)}`;
}
