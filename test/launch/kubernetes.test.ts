/**
 * Manifests, offline: the published schemas, our own rules, and the manifest played on this machine by a Job controller's
 * rules. No server has seen them.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, test } from "node:test";
import { type IJob, Job as JobModel } from "kubernetes-models/batch/v1";
import { ConfigMap as ConfigMapModel } from "kubernetes-models/v1";
import { parseAllDocuments } from "yaml";
import { build } from "../../src/build/build.ts";
import { runIndexes } from "../../src/launch/index-runner.ts";
import { type KubernetesWishes, kubernetesObjects } from "../../src/launch/kubernetes.ts";
import type { Job, JobSpec, KubernetesObject } from "../../src/launch/kubernetes-objects.ts";
import { manifestFaults } from "../../src/launch/kubernetes-rules.ts";
import { manifestText } from "../../src/launch/kubernetes-text.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import { hashesOf } from "../build/support.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { isConfigMap, isJob, rulesOf, runPod } from "./play-manifest.ts";
import { compiled, writeManyShards } from "./small-family.ts";

const WISHES: KubernetesWishes = {
  source: { text: "version: 1\nparents: { a: /data/a, b: /data/b }\nbase: a\n", fileName: "recipe.yaml" },
  ...{ output: "/data/R1T", parents: { a: "/data/a", b: "/data/b" }, image: "registry.example/chimera:0.1" },
  ...{ tasks: 41, parallel: 8, workers: 2, memory: "2Gi", verify: true, waitSeconds: 86_400 },
  claims: [{ claim: "models", mountPath: "/data", readOnly: false }],
};

const objects = (changes: Partial<KubernetesWishes> = {}) => kubernetesObjects({ ...WISHES, ...changes });

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
  const variants: Record<string, Partial<KubernetesWishes>> = {
    usual: {},
    "to an object store": { output: "s3://bucket/child", secret: "keys" },
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
    const name = (changes: Partial<KubernetesWishes>) => objects(changes)[1]!.metadata.name;
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

describe("a manifest, played", () => {
  test("with pods killed, evicted and run twice, ends with the bytes of a local build", async (t) => {
    const folder = temporaryFolder(t);
    const recipe = writeManyShards(join(folder, "recipe.yaml"));
    await build(await planRecipe(recipe), join(folder, "whole"));
    const data = join(folder, "volume");
    mkdirSync(data);
    const gate = join(folder, "gate");
    const parents = { v3: resolve("models/mini-v3"), r1: resolve("models/mini-r1") };
    const made = kubernetesObjects({
      ...WISHES,
      source: { text: readFileSync(recipe, "utf8"), fileName: "recipe.yaml" },
      ...{ parents, tasks: 5, parallel: 2, workers: 1, waitSeconds: 120 },
    });
    assert.deepEqual(manifestFaults(made), []);
    const config = join(folder, "config");
    mkdirSync(config);
    for (const [name, text] of Object.entries(made.find(isConfigMap)!.data))
      writeFileSync(join(config, name), text);
    const cluster = {
      program: [
        "/usr/bin/env",
        `GATE=${gate}`,
        process.execPath,
        "--import",
        compiled("launch/gated"),
        compiled("build/command"),
      ],
      paths: { "/etc/chimera": config, "/data/": `${data}/` },
    };
    const [job, finish] = made.filter(isJob) as [Job, Job];
    const child = join(data, "R1T");
    const holdsLock = () =>
      existsSync(join(child, ".chimera")) &&
      readdirSync(join(child, ".chimera")).some((name) => /^lock-000000-.*\.json$/.test(name));

    // Both Jobs at once, as one apply makes them: the finishing one waits.
    writeFileSync(gate, "");
    const finished = runIndexes(rulesOf(finish), (index, attempt) =>
      runPod(finish.spec.template.spec, index, { attempt, cluster }),
    );
    let evictions = 0;
    const report = await runIndexes(rulesOf(job), async (index, attempt) => {
      const ended = runPod(job.spec.template.spec, index, {
        ...{ attempt, cluster },
        onStart: (pod) => {
          if (index !== 0 || attempt > 1) return;
          const timer = setInterval(() => {
            if (!holdsLock()) return;
            clearInterval(timer);
            // First for want of memory; then by a node that is drained.
            pod.kill(attempt === 0 ? "SIGKILL" : "SIGTERM");
            if (attempt === 1) rmSync(gate, { force: true });
          }, 20);
        },
      });
      const end = await ended;
      const isDisrupted = index === 0 && attempt === 1;
      if (isDisrupted) evictions++;
      return { ...end, ...(isDisrupted ? { isDisrupted } : {}) };
    });
    assert.deepEqual([report.failed, report.succeeded.sort()], [[], [0, 1, 2, 3, 4]]);
    assert.deepEqual([report.runs, evictions], [5 + 2, 1]);
    const { succeeded } = await finished;
    assert.deepEqual(succeeded, [0]);
    assert.deepEqual(hashesOf(child), hashesOf(join(folder, "whole")));

    // A duplicate after the end changes nothing.
    assert.equal((await runPod(job.spec.template.spec, 2, { attempt: 0, cluster })).status, 0);
    assert.deepEqual(hashesOf(child), hashesOf(join(folder, "whole")));
  });

  test("a parent that is not there fails every index at once, and the finishing Job in its time", async (t) => {
    const folder = temporaryFolder(t);
    const made = kubernetesObjects({ ...WISHES, tasks: 3, parallel: 3, waitSeconds: 1 });
    writeFileSync(join(folder, "recipe.yaml"), WISHES.source.text);
    const cluster = {
      program: [process.execPath, compiled("build/command")],
      paths: { "/etc/chimera": folder, "/data/": `${folder}/data/` },
    };
    const [job, finish] = made.filter(isJob) as [Job, Job];
    for (const [each, most] of [
      [job, 3],
      [finish, 1],
    ] as const) {
      const report = await runIndexes(rulesOf(each), (index, attempt) =>
        runPod(each.spec.template.spec, index, { attempt, cluster }),
      );
      assert.deepEqual([report.succeeded, report.runs <= most], [[], true]);
      assert.ok(report.failed.every(({ end }) => end.status === 2 || end.status === 3));
    }
  });
});

test("a child that goes to an object store is put together on the node's disk, and keys come from a Secret", () => {
  const all = objects({ output: "s3://bucket/child", secret: "keys" });
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
  const { args, resources } = jobs[0]!.spec.template.spec.containers[0]!;
  assert.deepEqual(args.slice(args.indexOf("--staging")).slice(0, 2), ["--staging", "/staging"]);
  assert.match(resources.requests["ephemeral-storage"]!, /^\d+Gi$/);
  assert.deepEqual(manifestFaults(all), []);
  for (const object of all) validate(object);
});
