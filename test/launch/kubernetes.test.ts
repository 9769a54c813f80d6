/**
 * Manifests, offline: the published schemas, and our own rules. No server has seen them; kubernetes-played.test.ts plays them
 * on this machine.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, test } from "node:test";
import { type IJob, Job as JobModel } from "kubernetes-models/batch/v1";
import { ConfigMap as ConfigMapModel } from "kubernetes-models/v1";
import { parseAllDocuments } from "yaml";
import { type ClusterWishes, kubernetesObjects } from "../../src/launch/kubernetes.ts";
import type { Job, JobSpec, KubernetesObject } from "../../src/launch/kubernetes-objects.ts";
import { manifestFaults } from "../../src/launch/kubernetes-rules.ts";
import { type ClusterBuild, clusterBuild, clusterStudy } from "../../src/launch/kubernetes-tasks.ts";
import { manifestText } from "../../src/launch/kubernetes-text.ts";
import { isJob } from "./play-manifest.ts";

type Wishes = ClusterBuild & ClusterWishes;

const WISHES: Wishes = {
  source: { text: "version: 1\nparents: { a: /data/a, b: /data/b }\nbase: a\n", fileName: "recipe.yaml" },
  ...{ output: "/data/R1T", parents: { a: "/data/a", b: "/data/b" }, image: "registry.example/chimera:0.1" },
  ...{ tasks: 41, parallel: 8, workers: 2, memory: "2Gi", verify: true, waitSeconds: 86_400 },
  shardBytes: 5e9,
  claims: [{ claim: "models", mountPath: "/data", readOnly: false }],
};

const objects = (changes: Partial<Wishes> = {}) => {
  const wishes = { ...WISHES, ...changes };
  return kubernetesObjects(clusterBuild(wishes), wishes);
};

const study = (words: string[], files: Record<string, string> = {}) => {
  const kind = words[0] as "sweep" | "eval";
  return kubernetesObjects(
    clusterStudy({ kind, words, files, output: "/data/out", waitSeconds: 60 }),
    WISHES,
  );
};

/** Throws what the published schema says against an object. */
function validate(object: KubernetesObject): void {
  // The types hold it as well: an unknown field does not compile.
  if (isJob(object)) new JobModel(object satisfies IJob).validate();
  else new ConfigMapModel(object).validate();
}

/** Asserts that `actual` has everything of `expected`; it may have more, and lack empty lists. */
function assertWithin(expected: unknown, actual: unknown, path: string): void {
  if (typeof expected !== "object" || expected === null) {
    assert.equal(actual, expected, path);
    return;
  }
  if (Array.isArray(expected) && expected.length === 0) return;
  for (const [key, value] of Object.entries(expected))
    assertWithin(value, (actual as Record<string, unknown> | undefined)?.[key], `${path}.${key}`);
}

describe("kubernetesObjects()", () => {
  const variants: Record<string, Partial<Wishes>> = {
    usual: {},
    "to an object store": {
      ...{ output: "s3://bucket/child", secret: "keys", claims: [], env: { AWS_REGION: "$(HOME)" } },
      parents: { a: "hf:org/a", b: "s3://bucket/b" },
    },
    "to the Hub": { push: { repo: "org/child", discardLocal: true }, secret: "token" },
    "in a namespace, with a secret and another program": {
      ...{ namespace: "moe", secret: "keys", program: ["node", "chimera.mjs"], name: "my-child" },
    },
    "without verifying": { verify: false },
    "of a plan, with two claims": {
      source: { text: "{}", fileName: "plan.json" },
      claims: [
        { claim: "models", mountPath: "/models", readOnly: true },
        { claim: "out", mountPath: "/data", readOnly: false },
      ],
    },
    "of one part": { tasks: 1, verifyAll: true },
  };
  for (const [name, changes] of Object.entries(variants))
    test(`${name}: the published schemas and our rules take them, and the YAML is them`, () => {
      const made = objects(changes);
      for (const object of made) validate(object);
      assert.deepEqual(manifestFaults(made), []);
      const read = parseAllDocuments(manifestText(made), { version: "1.1" }).map((each) => each.toJS());
      assert.deepEqual(read, made);
    });

  const studies: Record<string, KubernetesObject[]> = {
    "a sweep of a recipe that goes along": study(["sweep", "/etc/chimera/r1t.yaml", "-o", "/data/out"], {
      "r1t.yaml": WISHES.source.text,
    }),
    "an evaluation of what lies on a volume": study(["eval", "/data/a", "/data/b", "-o", "/data/out"]),
  };
  for (const [name, made] of Object.entries(studies))
    test(`${name}: the published schemas and our rules take it`, () => {
      for (const object of made) validate(object);
      assert.deepEqual(manifestFaults(made), []);
      const [job, finish] = made.filter(isJob) as [Job, Job];
      assert.equal(
        made.some(({ kind }) => kind === "ConfigMap"),
        name.includes("goes along"),
      );
      const part = job.spec.template.spec.containers[0]!;
      assert.deepEqual(part.args.slice(-2), ["--part", "$(JOB_COMPLETION_INDEX)/41"]);
      const { containers, initContainers } = finish.spec.template.spec;
      assert.deepEqual([containers.length, initContainers], [1, undefined]);
      assert.deepEqual(containers[0]!.args, [...part.args.slice(0, -2), "--wait", "60"]);
      // Whoever waits does not take the memory of a model.
      assert.equal(containers[0]!.resources.limits.memory, "4Gi");
      const ruled = job.spec.podFailurePolicy.rules.map(({ onExitCodes }) => onExitCodes?.containerName);
      assert.deepEqual(ruled, [undefined, part.name]);
    });

  test("the schemas refuse what is wrong: they are not asleep", () => {
    const [, job] = objects() as [KubernetesObject, Job];
    const wrong = structuredClone(job);
    Object.assign(wrong.spec, { completions: "41" });
    assert.throws(() => validate(wrong), /completions/);
    const empty = structuredClone(job);
    Object.assign(empty.spec.template.spec, { containers: undefined });
    assert.throws(() => validate(empty), /containers/);
  });

  const hasKubectl = spawnSync("kubectl", ["version", "--client"]).status === 0;
  test("kubectl's own types take every field", { skip: !hasKubectl && "there is no kubectl" }, () => {
    for (const job of objects({ secret: "keys", namespace: "moe" }).filter(isJob)) {
      // Without a server: it decodes into the types of its version, which have no place for what they do not know.
      const main = job.spec.template.spec.containers[0]!;
      const { status, stdout, stderr } = spawnSync(
        "kubectl",
        ["set", "image", "--local", "-f", "-", `${main.name}=other`, "-o", "json"],
        { input: manifestText([job]), encoding: "utf8" },
      );
      assert.equal(status, 0, stderr);
      main.image = "other";
      assertWithin(job, JSON.parse(stdout), job.metadata.name);
    }
  });

  test("has the rules of our exit statuses", () => {
    const [, job, finish] = objects() as [KubernetesObject, Job, Job];
    assert.deepEqual(job.spec.podFailurePolicy.rules, [
      { action: "Ignore", onPodConditions: [{ type: "DisruptionTarget", status: "True" }] },
      { action: "FailIndex", onExitCodes: { containerName: "build", operator: "In", values: [2, 3, 4] } },
    ]);
    const { completionMode, completions, parallelism, backoffLimitPerIndex, podReplacementPolicy } = job.spec;
    assert.deepEqual(
      [completionMode, completions, parallelism, backoffLimitPerIndex, podReplacementPolicy],
      ["Indexed", 41, 8, 5, "Failed"],
    );
    assert.deepEqual(
      finish.spec.podFailurePolicy.rules.map(({ action, onExitCodes }) => [
        action,
        onExitCodes?.containerName,
      ]),
      [
        ["Ignore", undefined],
        ["FailJob", "finish"],
        ["FailJob", "verify"],
      ],
    );
  });

  test("the same wishes give the same names, others give others", () => {
    const name = (changes: Partial<Wishes>) => objects(changes)[1]!.metadata.name;
    assert.equal(name({}), name({}));
    assert.match(name({}), /^chimera-r1t-[0-9a-f]{8}$/);
    assert.notEqual(name({}), name({ tasks: 40 }));
    assert.match(name({ output: "/data/--Ünïcode & more--/" }), /^chimera-n-code-more-[0-9a-f]{8}$/);
  });

  test("texts that YAML would take for something else stay texts", () => {
    const output = "/data/no";
    const parents = { on: "/data/on", y: "/data/12:30", n: "/data/0o7 # x" };
    const text = manifestText(objects({ output, parents, namespace: "off", name: "n" }));
    const read = parseAllDocuments(text, { version: "1.1" }).map((each) => each.toJS());
    assert.deepEqual(read, objects({ output, parents, namespace: "off", name: "n" }));
    assert.match(text, /namespace: "off"/);
  });
});

describe("manifestFaults()", () => {
  const change = (how: (spec: JobSpec, job: Job) => void): string[] => {
    const made = structuredClone(objects());
    const job = made.find(isJob)!;
    how(job.spec, job);
    return manifestFaults(made);
  };
  const cases: [RegExp, (spec: JobSpec, job: Job) => void][] = [
    [/backoffLimitPerIndex needs completionMode Indexed/, (spec) => delete spec.completionMode],
    [
      /needs restartPolicy Never/,
      (spec) => Object.assign(spec.template.spec, { restartPolicy: "OnFailure" }),
    ],
    [/maxFailedIndexes needs backoffLimitPerIndex/, (spec) => delete spec.backoffLimitPerIndex],
    [/maxFailedIndexes 99 of 41/, (spec) => Object.assign(spec, { maxFailedIndexes: 99 })],
    [
      /podReplacementPolicy TerminatingOrFailed/,
      (spec) => Object.assign(spec, { podReplacementPolicy: "TerminatingOrFailed" }),
    ],
    [
      /there is no container "other"/,
      ({ podFailurePolicy }) =>
        Object.assign(podFailurePolicy.rules[1]!.onExitCodes!, { containerName: "other" }),
    ],
    [/0 is no failure/, ({ podFailurePolicy }) => podFailurePolicy.rules[1]!.onExitCodes!.values.unshift(0)],
    [
      /exit codes must rise/,
      ({ podFailurePolicy }) => podFailurePolicy.rules[1]!.onExitCodes!.values.push(3),
    ],
    [
      /needs one of onExitCodes and onPodConditions/,
      ({ podFailurePolicy }) => delete podFailurePolicy.rules[0]!.onPodConditions,
    ],
    [/FailIndex needs backoffLimitPerIndex/, (spec) => delete spec.backoffLimitPerIndex],
    [/200000 completions, wanted at most 100000/, (spec) => Object.assign(spec, { completions: 200_000 })],
    [/at most 10000/, (spec) => Object.assign(spec, { completions: 20_000, parallelism: 20_000 })],
    [/its name is no DNS label/, (_, job) => Object.assign(job.metadata, { name: "My_Child" })],
    [
      /has 62 characters, wanted at most 60/,
      (_, job) => Object.assign(job.metadata, { name: "a".repeat(62) }),
    ],
    [
      /refers to \$\(JOB_COMPLETION_INDEX\), which is not set before it/,
      ({ template }) => template.spec.containers[0]!.env.reverse(),
    ],
    [/no argument says which index it is/, ({ template }) => template.spec.containers[0]!.args.pop()],
    [/there is no volume "claim-0"/, ({ template }) => template.spec.volumes.pop()],
    [/several namespaces/, (_, job) => Object.assign(job.metadata, { namespace: "other" })],
  ];
  for (const [expected, how] of cases)
    test(`tells ${expected.source}`, () => assert.match(change(how).join("\n"), expected));

  test("tells a recipe that is too large for a ConfigMap", () => {
    const source = { text: "x".repeat(1_000_001), fileName: "plan.json" } as const;
    assert.match(manifestFaults(objects({ source })).join(), /it holds 1000001 bytes/);
  });
});

test("a child that goes to an object store is put together on the node's disk, and keys come from a Secret", () => {
  const all = objects({ output: "s3://bucket/child", secret: "keys", claims: [] });
  const jobs = all.filter(isJob);
  assert.equal(jobs.length, 2);
  for (const { spec } of jobs) {
    const { containers, volumes } = spec.template.spec;
    assert.ok(volumes.some((volume) => volume.name === "staging" && "emptyDir" in volume));
    for (const { volumeMounts, envFrom } of containers) {
      assert.ok(volumeMounts.some(({ mountPath }) => mountPath === "/staging"));
      assert.deepEqual(envFrom, [{ secretRef: { name: "keys" } }]);
    }
  }
  const { containers, volumes } = jobs[0]!.spec.template.spec;
  const { args, resources } = containers[0]!;
  assert.deepEqual(args.slice(args.indexOf("--staging")).slice(0, 2), ["--staging", "/staging"]);
  // Two workers, a shard of 5 GB each.
  assert.equal(resources.requests["ephemeral-storage"], "10Gi");
  assert.deepEqual(volumes.at(-1), { name: "staging", emptyDir: { sizeLimit: "10Gi" } });
  assert.deepEqual(manifestFaults(all), []);
  for (const object of all) validate(object);
});

test("what is pushed and leaves the folder is verified where it is, and waited for by the journal", () => {
  const [, job, finish] = objects({ push: { repo: "org/child", discardLocal: true } }) as [object, Job, Job];
  const pushing = ["--push", "org/child", "--discard-local"];
  const argsOf = ({ spec }: Job) => spec.template.spec.containers[0]!.args;
  const within = (args: string[]) => args.slice(args.indexOf("--push")).slice(0, 3);
  assert.deepEqual(within(argsOf(job)), pushing);
  assert.deepEqual(within(finish.spec.template.spec.initContainers![0]!.args), pushing);
  assert.deepEqual(argsOf(finish), ["verify", "hf:org/child"]);
});

test("variables stand before what refers to them, and a dollar stays one", () => {
  const [, job] = objects({ env: { A: "x$(HOME)$$y" }, output: "/data/$(A)" }) as [object, Job];
  const { env, args } = job.spec.template.spec.containers[0]!;
  assert.deepEqual(env[0], { name: "A", value: "x$$(HOME)$$$$y" });
  assert.ok(args.includes("/data/$$(A)"));
});
