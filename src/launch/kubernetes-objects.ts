/**
 * The parts of Kubernetes objects that are written here, with the names of its API (batch/v1, core/v1). Plain data; a test
 * holds it to the published schemas.
 */

export interface Metadata {
  name: string;
  namespace?: string;
  labels: Record<string, string>;
}

export interface ConfigMap {
  apiVersion: "v1";
  kind: "ConfigMap";
  metadata: Metadata;
  immutable: true;
  data: Record<string, string>;
}

export interface Job {
  apiVersion: "batch/v1";
  kind: "Job";
  metadata: Metadata;
  spec: JobSpec;
}

export interface JobSpec {
  completionMode?: "Indexed";
  completions?: number;
  parallelism?: number;
  backoffLimit?: number;
  backoffLimitPerIndex?: number;
  maxFailedIndexes?: number;
  podReplacementPolicy: "Failed";
  podFailurePolicy: { rules: PodFailureRule[] };
  ttlSecondsAfterFinished: number;
  template: { metadata: { labels: Record<string, string> }; spec: PodSpec };
}

export interface PodFailureRule {
  action: "Ignore" | "FailIndex" | "FailJob" | "Count";
  onExitCodes?: { containerName?: string; operator: "In" | "NotIn"; values: number[] };
  onPodConditions?: { type: string; status: string }[];
}

export interface PodSpec {
  restartPolicy: "Never";
  terminationGracePeriodSeconds: number;
  automountServiceAccountToken: false;
  securityContext: object;
  initContainers?: Container[];
  containers: Container[];
  volumes: Volume[];
}

export interface Container {
  name: string;
  image: string;
  command?: string[];
  args: string[];
  env: EnvironmentVariable[];
  envFrom?: { secretRef: { name: string } }[];
  resources: { requests: Record<string, string>; limits: Record<string, string> };
  securityContext: object;
  volumeMounts: { name: string; mountPath: string; readOnly?: boolean }[];
}

export type EnvironmentVariable =
  | { name: string; value: string }
  | { name: string; valueFrom: { fieldRef: { fieldPath: string } } };

export type Volume = { name: string } & (
  | { persistentVolumeClaim: { claimName: string; readOnly?: boolean } }
  | { configMap: { name: string } }
  | { emptyDir: { sizeLimit: string } }
);

export type KubernetesObject = ConfigMap | Job;
