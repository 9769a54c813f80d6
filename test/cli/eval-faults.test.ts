/** chimera eval and what goes wrong: one clear error, the right status, and nothing lost or half-written. */
import assert from "node:assert/strict";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import type { Misbehaviour } from "../support/misbehaviour.ts";
import { type ServerOptions, startServer } from "../support/openai-server.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { type CliResult, callMain } from "./run-main.ts";

const R1 = "models/mini-r1";
const CAPITALS = ["--tasks", "tasks/mini/capitals.yaml"];
const KEY = "sk-0123456789-geheim";

function run(args: readonly string[], env: Record<string, string> = {}): Promise<CliResult> {
  return callMain(["eval", ...args], env);
}

/** One error, and at most one note to it. */
function assertFails({ status, stdout, stderr }: CliResult, wanted: number, message: RegExp): void {
  assert.equal(status, wanted, stderr);
  assert.match(stderr, message);
  assert.equal(stdout, "");
  assert.equal(stderr.match(/^error: /gm)?.length, 1, stderr);
  assert.doesNotMatch(stderr, /internal|\n {4}at /);
}

async function serving<T>(options: ServerOptions, use: (url: string) => Promise<T>): Promise<T> {
  const server = await startServer(options);
  return use(server.url).finally(() => server.close());
}

/** All that is written in a folder, and below. */
function textOf(folder: string): string {
  const files = readdirSync(folder, { recursive: true }) as string[];
  return files
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile())
    .map((path) => readFileSync(path, "utf8"))
    .join("\n");
}

describe("chimera eval, before anything is asked", () => {
  const base = temporaryFolder({ after });
  const write = (name: string, text: string) => {
    writeFileSync(join(base, name), text);
    return join(base, name);
  };
  const out = join(base, "out");
  const file = write("a-file", "x");
  const wrong = write("wrong.yaml", "task: wrong\ndata: one.jsonl\nscoring: numeric\ntemprature: 1\n");
  const none = write("none.yaml", "task: none\ndata: none.jsonl\nscoring: numeric\n");
  write("one.jsonl", '{"question": "1 + 1?", "answer": "2"}\n');
  write("none.jsonl", "\n");
  const foreign = join(base, "foreign");
  mkdirSync(foreign);
  writeFileSync(join(foreign, "thesis.txt"), "years of work");

  const CASES: [name: string, args: string[], status: number, message: RegExp][] = [
    ["a wrong field", [R1, "--tasks", wrong], 2, /wrong\.yaml:4:1 .*"temprature"/],
    ["a task without questions", [R1, "--tasks", none], 2, /none/],
    ["a task file that is not there", [R1, "--tasks", join(base, "x.yaml")], 2, /x\.yaml/],
    ["a target that is not there", [join(base, "nobody"), ...CAPITALS], 3, /Cannot open ".*nobody"/],
    ["a judge that is no endpoint", [R1, "--judge", R1], 2, /Cannot use the judge "models\/mini-r1"/],
    ["--rescore of what is no run", [R1, "--rescore"], 2, /Cannot score again what is no run/],
    ["no URL", ["http://", ...CAPITALS], 2, /Cannot use the endpoint "http:\/\/": it is no URL/],
    ["--seed -1", [R1, "--seed", "-1"], 2, /--seed.*wanted a whole number from 0 on/],
    ["--n 0", [R1, "--n", "0"], 2, /--n/],
    ["--n 1.5", [R1, "--n", "1.5"], 2, /--n/],
    ["foreign files", [R1, ...CAPITALS, "--out", foreign], 2, /it holds "thesis\.txt" and no config\.json/],
    ["a place that is a file", [R1, ...CAPITALS, "--out", file], 2, /a-file/],
    ["a place under a file", [R1, ...CAPITALS, "--out", join(file, "run")], 2, /a-file/],
    [
      "a checkpoint's own folder",
      [R1, ...CAPITALS, "--out", R1],
      3,
      /Cannot read "models\/mini-r1\/config\.json"/,
    ],
  ];
  for (const [name, args, status, message] of CASES)
    test(`${name}: ${status}, and nothing is written`, async () => {
      const before = readdirSync(base, { recursive: true }).sort();
      const models = readdirSync(R1);
      const where = args.includes("--out") ? [] : ["--out", out];
      assertFails(await run([...args, ...where]), status, message);
      assert.deepEqual(readdirSync(base, { recursive: true }).sort(), before);
      assert.deepEqual(readdirSync(R1), models);
    });

  test("a target without a chat template: 3 for messages, while raw tasks work", async (t) => {
    const folder = join(temporaryFolder(t), "plain");
    cpSync(R1, folder, { recursive: true });
    const path = join(folder, "tokenizer_config.json");
    const { chat_template: _, ...config } = JSON.parse(readFileSync(path, "utf8"));
    writeFileSync(path, JSON.stringify(config));
    const chat = join(temporaryFolder(t), "chat");
    assertFails(await run([folder, ...CAPITALS, "--n", "2", "--out", chat]), 3, /chat template/);
    const raw = write(
      "raw.yaml",
      "task: raw\ndata: one.jsonl\nmode: raw\nscoring: none\ngeneration: { max_tokens: 4 }\n",
    );
    const { status, stderr } = await run([folder, "--tasks", raw, "--out", join(base, "raw")]);
    assert.equal(status, 0, stderr);
    rmSync(join(base, "raw"), { recursive: true });
  });
});

describe("chimera eval of an endpoint that fails", () => {
  const quick = [...CAPITALS, "--n", "6", "--retries", "0", "--concurrency", "1"];
  const always = (kind: Misbehaviour["kind"]) => Array.from({ length: 20 }, () => ({ kind }) as Misbehaviour);

  const CASES: [name: string, options: ServerOptions, more: string[], status: number, message: RegExp][] = [
    ["drops connections", { script: always("drop") }, [], 75, /cannot be reached \(ECONNRESET\)/],
    ["answers malformed JSON", { script: always("malformed") }, [], 3, /wanted JSON/],
    ["never says a word", { script: always("silent") }, ["--timeout", "0.1"], 75, /answer/],
    ["wants a key", { apiKey: KEY }, [], 3, /401/],
  ];
  for (const [name, options, more, status, message] of CASES)
    test(`one that ${name}: ${status}, and the same command goes on later`, async (t) => {
      const out = join(temporaryFolder(t), "run");
      const script = [{ kind: "answer" } as const, ...(options.script ?? [])];
      await serving({ ...options, script }, async (url) => {
        const result = await run([`${url}#mini`, ...quick, ...more, "--out", out], {
          CHIMERA_API_KEY: "sk-another-secret",
        });
        assertFails(result, status, message);
        assert.ok(!existsSync(join(out, "summary.json")));
        // What is answered stays; a run without an answer leaves nothing.
        if (options.apiKey) assert.ok(!existsSync(out));
        else assert.equal(readFileSync(join(out, "records.ndjson"), "utf8").split("\n").length - 1, 1);
        assert.ok(!`${result.stderr}${existsSync(out) ? textOf(out) : ""}`.includes("sk-another-secret"));
      });
    });

  test("one that changes its model: 3, and again when it is asked to go on", async (t) => {
    const out = join(temporaryFolder(t), "run");
    await serving({ renamedFrom: { answer: 2, name: "other" } }, async (url) => {
      for (let i = 0; i < 2; i++) {
        const result = await run([`${url}#mini`, ...quick, "--out", out]);
        assertFails(result, 3, /the answer comes from the model "other", wanted "mini" as before/);
        assert.equal(readFileSync(join(out, "records.ndjson"), "utf8").split("\n").length - 1, 2);
      }
    });
  });

  test("no such host, no such port: 75, with nothing answered", async (t) => {
    const port = await serving({}, async (url) => new URL(url).port);
    for (const url of ["http://nobody.invalid/v1#m", `http://127.0.0.1:${port}/v1#m`]) {
      const result = await run([url, ...quick, "--out", join(temporaryFolder(t), "run")]);
      assertFails(result, 75, /cannot be reached/);
    }
  });

  test("a folder with another run says what differs, and stays; names of equal targets are made unique", async (t) => {
    const out = join(temporaryFolder(t), "runs");
    await serving({}, async (url) => {
      const target = `${url}#org%2Fmini`;
      const first = await run([target, target, ...CAPITALS, "--n", "2", "--out", out]);
      assert.equal(first.status, 0, first.stderr);
      assert.deepEqual(readdirSync(out).sort(), ["comparison.json", "org-mini", "org-mini-2"]);
      const before = textOf(out);
      const other = await run([
        target,
        ...CAPITALS,
        "--n",
        "3",
        "--seed",
        "7",
        "--out",
        join(out, "org-mini"),
      ]);
      assertFails(other, 2, /it holds another run: n 2, wanted 3; seed 0, wanted 7\n/);
      assert.equal(textOf(out), before);
    });
  });

  test("the key stands in no file and no output; a judge's endpoint lets the command end", async (t) => {
    const out = join(temporaryFolder(t), "run");
    await serving({ apiKey: KEY, says: { content: "REFUSED" } }, async (url) => {
      const secret = url.replace("//", "//user:passwort@").concat("?key=anfrage");
      const args = [`x=${secret}#mini`, ...CAPITALS, "--n", "2", "--judge", `${url}#judge`];
      const plain = [`x=${url}#mini`, ...args.slice(1)];
      for (const [i, each] of [plain, args].entries()) {
        const result = await run([...each, "--json", "--out", `${out}${i}`], { CHIMERA_API_KEY: KEY });
        const all = `${result.stdout}${result.stderr}${existsSync(`${out}${i}`) ? textOf(`${out}${i}`) : ""}`;
        for (const word of [KEY, "passwort", "anfrage"]) assert.ok(!all.includes(word), word);
        if (i > 0) continue;
        assert.equal(result.status, 0, result.stderr);
        const [{ summary, config }] = JSON.parse(result.stdout).runs;
        assert.deepEqual(config.settings.refusals, { kind: "judge", url, model: "judge" });
        assert.equal(summary.overall.refused.count, 2);
      }
    });
  });
});
