/**
 * What a Kubernetes server would refuse, or take and then not do, told before it is asked. Schemas know the names and types
 * of fields; these rules are the ones between fields (kubernetes.io, "Jobs": pod failure policy, back-off limit per index)
 * and those of ours.
 */
import type { Container, Job, JobSpec, KubernetesObject, PodSpec } from "./kubernetes-objects.ts";

/** All faults; empty when there is none. */
export function manifestFaults(objects: readonly KubernetesObject[]): string[] {
  const faults = objects.flatMap((object) => {
    const own = object.kind === "Job" ? jobFaults(object) : configMapFaults(object.data);
    return [...metadataFaults(object), ...own].map(
      (fault) => `${object.kind} ${object.metadata.name}: ${fault}`,
    );
  });
  const spaces = new Set(objects.map(({ metadata }) => metadata.namespace));
  if (spaces.size > 1) faults.push("the objects lie in several namespaces, wanted one");
  return faults;
}

const LABEL = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/;

function metadataFaults({
  kind,
  metadata: { name, namespace, labels },
  ...object
}: KubernetesObject): string[] {
  const faults: string[] = [];
  if (!LABEL.test(name)) faults.push(`its name is no DNS label, wanted a-z, 0-9 and "-"`);
  // A pod's host name is the Job's with the index; a name that is too long gives pods that never start.
  const completions = kind === "Job" && "spec" in object ? (object.spec.completions ?? 0) : 0;
  const longest = 63 - (completions > 0 ? String(completions - 1).length + 1 : 0);
  if (name.length > longest) faults.push(`its name has ${name.length} characters, wanted at most ${longest}`);
  if (namespace !== undefined && (!LABEL.test(namespace) || namespace.length > 63))
    faults.push(`the namespace "${namespace}" is no DNS label`);
  for (const [key, value] of Object.entries(labels))
    if (value.length > 63) faults.push(`the label ${key} has ${value.length} characters, wanted at most 63`);
  return faults;
}

const MOST_CONFIG_BYTES = 1_000_000;

function configMapFaults(data: Readonly<Record<string, string>>): string[] {
  const bytes = Object.values(data).reduce((sum, text) => sum + new TextEncoder().encode(text).length, 0);
  return bytes > MOST_CONFIG_BYTES ? [`it holds ${bytes} bytes, wanted at most ${MOST_CONFIG_BYTES}`] : [];
}

function jobFaults({ spec }: Job): string[] {
  const pod = spec.template.spec;
  const all = [...(pod.initContainers ?? []), ...pod.containers];
  return [
    ...indexFaults(spec),
    ...policyFaults(spec, all),
    ...all.flatMap((each) => containerFaults(each, pod, spec)),
  ];
}

const MOST_INDEXES = 100_000;

function indexFaults(spec: JobSpec): string[] {
  const { completionMode, completions, parallelism, backoffLimitPerIndex, maxFailedIndexes, template } = spec;
  const faults: string[] = [];
  const isIndexed = completionMode === "Indexed";
  if (isIndexed && completions === undefined) faults.push("Indexed without completions");
  if ((completions ?? 1) > MOST_INDEXES)
    faults.push(`${completions} completions, wanted at most ${MOST_INDEXES}`);
  if ((parallelism ?? 1) > MOST_INDEXES)
    faults.push(`parallelism ${parallelism}, wanted at most ${MOST_INDEXES}`);
  if (backoffLimitPerIndex !== undefined && !isIndexed)
    faults.push("backoffLimitPerIndex needs completionMode Indexed");
  if (backoffLimitPerIndex !== undefined && template.spec.restartPolicy !== "Never")
    faults.push("backoffLimitPerIndex needs restartPolicy Never");
  if (maxFailedIndexes !== undefined && backoffLimitPerIndex === undefined)
    faults.push("maxFailedIndexes needs backoffLimitPerIndex");
  if (maxFailedIndexes !== undefined && maxFailedIndexes > (completions ?? 0))
    faults.push(`maxFailedIndexes ${maxFailedIndexes} of ${completions} completions`);
  // Above 10 000 the server wants tighter bounds.
  if (backoffLimitPerIndex !== undefined && (completions ?? 0) > 10_000)
    if ((maxFailedIndexes ?? MOST_INDEXES) > 10_000 || (parallelism ?? 1) > 10_000)
      faults.push("above 10000 completions, maxFailedIndexes and parallelism may be at most 10000");
  return faults;
}

function policyFaults(spec: JobSpec, containers: readonly Container[]): string[] {
  const { podFailurePolicy, podReplacementPolicy, template, backoffLimitPerIndex } = spec;
  const faults: string[] = [];
  const { rules } = podFailurePolicy;
  if (template.spec.restartPolicy !== "Never") faults.push("podFailurePolicy needs restartPolicy Never");
  if (podReplacementPolicy !== "Failed")
    faults.push(`podReplacementPolicy ${podReplacementPolicy} beside a podFailurePolicy, wanted Failed`);
  if (rules.length > 20) faults.push(`podFailurePolicy has ${rules.length} rules, wanted at most 20`);
  for (const [i, { action, onExitCodes, onPodConditions }] of rules.entries()) {
    const rule = `rule ${i} of podFailurePolicy`;
    if ((onExitCodes === undefined) === (onPodConditions === undefined))
      faults.push(`${rule} needs one of onExitCodes and onPodConditions`);
    if (action === "FailIndex" && backoffLimitPerIndex === undefined)
      faults.push(`${rule}: FailIndex needs backoffLimitPerIndex`);
    if (!onExitCodes) continue;
    const { containerName, operator, values } = onExitCodes;
    if (containerName !== undefined && !containers.some(({ name }) => name === containerName))
      faults.push(`${rule}: there is no container "${containerName}"`);
    if (operator === "In" && values.includes(0)) faults.push(`${rule}: 0 is no failure`);
    if (values.length === 0 || values.length > 255) faults.push(`${rule}: ${values.length} exit codes`);
    if (values.some((value, k) => k > 0 && value <= values[k - 1]!))
      faults.push(`${rule}: exit codes must rise, without one twice`);
  }
  return faults;
}

function containerFaults(
  { name, image, args, env, volumeMounts }: Container,
  { volumes }: PodSpec,
  { completionMode }: JobSpec,
): string[] {
  const faults: string[] = [];
  const fault = (text: string) => faults.push(`container ${name}: ${text}`);
  if (!LABEL.test(name)) fault("its name is no DNS label");
  if (image === "" || /\s/.test(image)) fault(`"${image}" is no image`);
  const known = new Set<string>();
  for (const variable of env) {
    if ("value" in variable)
      for (const used of references(variable.value))
        if (!known.has(used)) fault(`${variable.name} refers to $(${used}), which is not set before it`);
    known.add(variable.name);
  }
  for (const used of args.flatMap(references))
    if (!known.has(used)) fault(`an argument refers to $(${used}), which is not set`);
  if (completionMode === "Indexed" && !args.some((arg) => references(arg).includes("JOB_COMPLETION_INDEX")))
    fault("no argument says which index it is: every pod would do the same");
  const paths = volumeMounts.map(({ mountPath }) => mountPath);
  if (new Set(paths).size < paths.length) fault("two volumes are mounted at one path");
  for (const path of paths) if (!/^\/[^:]*$/.test(path)) fault(`"${path}" is no path to mount at`);
  for (const mount of volumeMounts)
    if (!volumes.some((volume) => volume.name === mount.name)) fault(`there is no volume "${mount.name}"`);
  return faults;
}

/** Names in $(NAME), as the kubelet puts values in their place; $$(NAME) is the text itself. */
function references(text: string): string[] {
  return [...text.matchAll(/(\$+)\(([A-Za-z_]\w*)\)/g)].flatMap(([, dollars, name]) =>
    dollars!.length % 2 === 1 ? [name!] : [],
  );
}
