/** chimera eval, killed and stopped, compared, scored again, as JSON and on a narrow terminal. */
import assert from "node:assert/strict";
import { appendFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type LanguageModel, loadModel } from "../../src/library/language-model.ts";
import { type OpenAiServer, type ServerOptions, startServer } from "../support/openai-server.ts";
import type { Served } from "../support/served-model.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { type CliResult, callMain, runMain, startMain } from "./run-main.ts";

const R1 = "models/mini-r1";
const SMALL = [
  "--tasks",
  "tasks/mini/capitals.yaml",
  "tasks/mini/sums.yaml",
  "tasks/mini/guarded-topics.yaml",
];

let model: LanguageModel;
const memory = new Map<string, Promise<Served>>();
before(async () => {
  model = await loadModel(R1, { threads: 1 });
});
after(() => model.dispose());

async function serving<T>(options: ServerOptions, use: (server: OpenAiServer) => Promise<T>): Promise<T> {
  const server = await startServer({ model, memory, ...options });
  return use(server).finally(() => server.close());
}

const run = (...args: string[]): Promise<CliResult> => callMain(["eval", ...args]);
const bytesOf = (folder: string) => readFileSync(join(folder, "records.ndjson"), "utf8");
const countOf = (folder: string) => {
  const path = join(folder, "records.ndjson");
  return existsSync(path) ? readFileSync(path, "utf8").split("\n").length - 1 : 0;
};

describe("chimera eval, ended in the middle", () => {
  const args = [...SMALL, "--n", "14", "--seed", "3", "--temperature", "0.8"];
  const whole = join(temporaryFolder({ after }), "whole");
  before(async () => {
    const { status, stderr } = await serving({}, ({ url }) => run(`${url}#mini`, ...args, "--out", whole));
    assert.equal(status, 0, stderr);
  });

  for (const [signal, status] of [
    ["SIGKILL", null],
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const) {
    test(`by ${signal}: the same command goes on, and ends with the same bytes`, async (t) => {
      const folder = join(temporaryFolder(t), "run");
      // After four answers the server holds the connection.
      const stuck = { kind: "silent" } as const;
      const script: ServerOptions["script"] = [...Array(4).fill({ kind: "answer" }), ...Array(9).fill(stuck)];
      const server = await startServer({ model, memory, script });
      const port = Number(new URL(server.url).port);
      const mine = [`${server.url}#mini`, ...args];
      const { child, result } = startMain(["eval", ...mine, "--out", folder, "--concurrency", "2"]);
      while (countOf(folder) < 4 && child.exitCode === null) await sleep(10);
      child.kill(signal);
      const ended = await result;
      assert.equal(ended.status, status, ended.stderr);
      if (status !== null) assert.match(ended.stderr, /stopped: 4 of 14 answers are kept\n$/);
      assert.equal(countOf(folder), 4);
      assert.ok(!existsSync(join(folder, "summary.json")));
      appendFileSync(join(folder, "records.ndjson"), '{"task":"mini-capitals","id":"cap');
      await server.close();
      const again = await startServer({ model, memory, port });
      try {
        const resumed = await run(...mine, "--out", folder);
        assert.equal(resumed.status, 0, resumed.stderr);
        assert.equal(again.log.filter(({ method }) => method === "POST").length, 10, "none again");
      } finally {
        await again.close();
      }
      assert.equal(bytesOf(folder), bytesOf(whole));
      assert.deepEqual(readdirSync(folder).sort(), readdirSync(whole).sort());
    });
  }

  test("a model that runs here is stopped at once, and goes on with another batch and other threads", async (t) => {
    const [folder, whole] = [join(temporaryFolder(t), "run"), join(temporaryFolder(t), "whole")];
    const args = [R1, ...SMALL, "--n", "10", "--max-tokens", "60"];
    const { child, result } = startMain(["eval", ...args, "--out", folder, "--batch", "1", "--threads", "1"]);
    while (countOf(folder) < 1 && child.exitCode === null) await sleep(10);
    child.kill("SIGINT");
    const ended = await result;
    assert.equal(ended.status, 130, ended.stderr);
    assert.match(ended.stderr, /stopped: \d of 10 answers are kept\n$/);
    const resumed = await run(...args, "--out", folder, "--batch", "7");
    const undisturbed = await run(...args, "--out", whole);
    assert.deepEqual([resumed.status, undisturbed.status], [0, 0], resumed.stderr);
    assert.equal(bytesOf(folder), bytesOf(whole));
  });

  test("two at once: the second is told who is at it, with 75, and the first goes on", async (t) => {
    const folder = join(temporaryFolder(t), "run");
    await serving({ script: [{ kind: "answer" }, { kind: "silent" }] }, async ({ url }) => {
      const args = [`${url}#mini`, ...SMALL, "--n", "3", "--out", folder];
      const first = startMain(["eval", ...args, "--concurrency", "1"]);
      while (countOf(folder) < 1 && first.child.exitCode === null) await sleep(10);
      const { status, stderr } = await run(...args);
      assert.equal(status, 75, stderr);
      assert.match(stderr, new RegExp(`error: Cannot evaluate in ".*": process ${first.child.pid} on `));
      first.child.kill("SIGKILL");
      await first.result;
      const last = await run(...args);
      assert.equal(last.status, 0, last.stderr);
    });
  });
});

describe("chimera eval, its results", () => {
  const folder = temporaryFolder({ after });
  before(async () => {
    for (const [name, usage, tokens] of [
      ["a", "detailed", "250"],
      ["b", "none", "60"],
    ] as const) {
      await serving({ usage }, async ({ url }) => {
        const args = [`${name}=${url}#mini`, ...SMALL, "--n", "20", "--max-tokens", tokens];
        const { status, stderr } = await run(...args, "--out", join(folder, name));
        assert.equal(status, 0, stderr);
      });
    }
  });

  test("--json gives summaries and comparisons of runs, and asks nobody", () => {
    const { status, stdout, stderr } = runMain("eval", join(folder, "a"), join(folder, "b"), "--json");
    assert.equal(status, 0, stderr);
    const { runs, comparisons } = JSON.parse(stdout);
    for (const [i, name] of ["a", "b"].entries()) {
      const summary = JSON.parse(readFileSync(join(folder, name, "summary.json"), "utf8"));
      const config = JSON.parse(readFileSync(join(folder, name, "config.json"), "utf8"));
      assert.deepEqual(runs[i], { name, folder: join(folder, name), config, summary });
    }
    assert.equal(comparisons.length, 1);
    const metrics = comparisons[0].metrics.map(({ metric }: { metric: string }) => metric);
    // b tells no tokens.
    assert.deepEqual(metrics, ["accuracy", "opens thinking", "refused"]);
  });

  test("the table has a dash for what an endpoint does not tell, and stays whole on a narrow terminal", async () => {
    const { stdout } = runMain("eval", join(folder, "a"), join(folder, "b"));
    const [, a, b] = stdout.split("\n");
    assert.match(a!, /^a +\d\.\d{3} +\d\.\d\d–\d\.\d\d +\d+\.\d +\d+ +\d+ +\d+\.\d +\d+\.\d +/);
    assert.match(b!, /^b +\d\.\d{3} +\d\.\d\d–\d\.\d\d +– +– +– +– +– +\d+ % +\d+ % +\d+ % +–$/);
    const narrow = await startMain(["eval", join(folder, "a")], { COLUMNS: "40" }).result;
    assert.equal(narrow.status, 0, narrow.stderr);
    for (const word of ["accuracy", "tokens/s", "capitals", "guarded", "20 questions"])
      assert.ok(narrow.stdout.includes(word), word);
  });

  test("--rescore applies the tasks as they are now, and leaves the run as it was", (t) => {
    const place = temporaryFolder(t);
    const run = join(folder, "a");
    const filesOf = () => readdirSync(run).map((name) => [name, readFileSync(join(run, name), "utf8")]);
    const before = filesOf();
    const yaml = (name: string) => readFileSync(`tasks/mini/${name}.yaml`, "utf8");
    const names = ["sums", "capitals", "guarded-topics"];
    const write = (name: string, text: string, data: string) => {
      writeFileSync(join(place, `${name}.yaml`), text);
      writeFileSync(join(place, `${name}.jsonl`), data);
    };
    const data = (name: string) => readFileSync(`tasks/mini/${name}.jsonl`, "utf8");
    for (const name of names) write(name, yaml(name), data(name));
    // Refusing is right now.
    const wanted = "scoring: { kind: refusal, wanted: decline }";
    write("guarded-topics", yaml("guarded-topics").replace(/^scoring:.*$/m, wanted), data("guarded-topics"));
    const out = join(place, "out");
    const args = ["eval", run, "--rescore", "--json", "--tasks", place];
    const { status, stdout, stderr } = runMain(...args, "--out", out);
    assert.equal(status, 0, stderr);
    const [{ summary, config }] = JSON.parse(stdout).runs;
    const old = JSON.parse(readFileSync(join(run, "summary.json"), "utf8"));
    const { accuracy, refused } = summary.topics.guarded;
    assert.deepEqual([accuracy.count, refused], [refused.count, old.topics.guarded.refused]);
    assert.ok(refused.count > 0 && old.topics.guarded.accuracy.count === 0);
    assert.equal(
      config.settings.rescoredFrom,
      JSON.parse(readFileSync(join(run, "config.json"), "utf8")).digest,
    );
    assert.deepEqual([summary.topics.sums, summary.speed], [old.topics.sums, old.speed]);

    const itself = runMain(...args, "--out", run);
    assert.equal(itself.status, 2);
    assert.match(itself.stderr, /^error: Cannot score ".*" again into itself: a run never changes/);
    write("sums", yaml("sums"), data("sums").replaceAll("What is", "How much is"));
    const changed = runMain(...args, "--out", join(place, "changed"));
    assert.equal(changed.status, 2);
    assert.match(changed.stderr, /^error: Cannot score question "sums-\d+" .* in other words now/);
    assert.ok(!existsSync(join(place, "changed")));
    assert.deepEqual(filesOf(), before);
  });
});
