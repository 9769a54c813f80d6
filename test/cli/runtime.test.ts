/** The commands that run a model: generate, chat, logits, perplexity. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { expectedOf, promptsOf, relativeError } from "../runtime/golden-forward.ts";
import { readShardTensors } from "../support/safetensors.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { type CliResult, MAIN_ARGS, runMain } from "./run-main.ts";

const R1 = "models/mini-r1";
const QUESTION = "What is 17 + 25?";
const ANSWER = "17 + 25 = 42.\n";

/** As runMain(), with lines on stdin. */
function runWith(input: string, ...args: string[]): CliResult {
  const { status, stdout, stderr } = spawnSync(process.execPath, [...MAIN_ARGS, ...args], {
    encoding: "utf8",
    input,
    timeout: 60_000,
    env: { ...process.env, NO_COLOR: "1" },
  });
  return { status, stdout, stderr };
}

/** Runs a command and sends it a signal as soon as there is something on stdout. */
function interrupt(signal: "SIGINT" | "SIGTERM", ...args: string[]): Promise<CliResult> {
  const child = spawn(process.execPath, [...MAIN_ARGS, ...args], { env: { ...process.env, NO_COLOR: "1" } });
  const [out, err]: [Buffer[], Buffer[]] = [[], []];
  child.stdout.once("data", () => child.kill(signal));
  child.stdout.on("data", (chunk: Buffer) => out.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => err.push(chunk));
  const [stdout, stderr] = [() => Buffer.concat(out).toString(), () => Buffer.concat(err).toString()];
  return new Promise((resolve) =>
    child.on("close", (status) => resolve({ status, stdout: stdout(), stderr: stderr() })),
  );
}

describe("chimera generate, interrupted", () => {
  // Nearly random tokens, until the context is full: more than a second.
  const args = ["generate", R1, "--raw", "-p", "Count", "--temperature", "20", "--seed", "4"];

  for (const [signal, wanted] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const) {
    test(`by ${signal}: ends with ${wanted}, what was said stays, figures follow on stderr`, async () => {
      const whole = runMain(...args);
      assert.deepEqual([whole.status, whole.stderr.includes("answer 1019 tokens")], [0, true], whole.stderr);
      const { status, stdout, stderr } = await interrupt(signal, ...args);
      assert.equal(status, wanted, stderr);
      const said = stdout.replace(/\n$/, "");
      assert.ok(said.length > 0 && said.length < stdout.length, "an answer, and a line feed behind it");
      // The last character may have been half there.
      assert.ok(whole.stdout.startsWith(said.replace(/\ufffd$/, "")), said);
      assert.ok(said.length < whole.stdout.length / 2, "it was stopped");
      assert.match(
        stderr,
        /^\nstopping …\nprompt 5 tokens.* · answer \d+ tokens.* · ended by aborted\nstopped: .*\n$/,
      );
    });
  }
});

describe("chimera generate", () => {
  test("--weights int8 answers, and says so behind the figures and in JSON", () => {
    const args = ["generate", R1, "-p", QUESTION, "--temperature", "0", "--weights", "int8"];
    const { status, stdout, stderr } = runMain(...args);
    assert.deepEqual([status, stdout], [0, ANSWER]);
    assert.match(stderr, /int8 weights \(inexact\), relaxed dot product\n$/);
    const { weights, dotProduct } = JSON.parse(runMain(...args, "--json", "--threads", "2").stdout);
    assert.deepEqual([weights, dotProduct], ["int8", "relaxed"]);
  });

  test("the answer goes to stdout, thinking and figures to stderr", () => {
    const { status, stdout, stderr } = runMain("generate", R1, "-p", QUESTION, "--temperature", "0", "--mtp");
    assert.deepEqual([status, stdout], [0, ANSWER]);
    assert.match(stderr, /^thinking\nLet me work this out/);
    assert.match(
      stderr,
      /^prompt 13 tokens, [\d.]+\/s · answer 76 tokens, [\d.]+\/s · MTP \d+ of \d+ drafts kept$/m,
    );
  });

  test("a recipe's child answers, with the prompt from stdin, and without MTP", () => {
    const args = ["recipes/mini/r1t.yaml", "-p", "-", "--temperature", "0", "--no-mtp", "--threads", "1"];
    const { status, stdout, stderr } = runWith(QUESTION, "generate", ...args);
    assert.deepEqual([status, stdout], [0, ANSWER], stderr);
    assert.doesNotMatch(stderr, /MTP/);
  });

  test("--json has the whole answer and its figures", () => {
    const args = ["-p", QUESTION, "--temperature", "0", "--max-tokens", "5", "--json"];
    const { status, stdout, stderr } = runMain("generate", R1, ...args);
    const { schemaVersion, content, reasoning, toolCalls, finish, stats } = JSON.parse(stdout);
    assert.deepEqual([status, stderr, schemaVersion, content, toolCalls], [0, "", 1, "", []]);
    assert.match(reasoning, /^Let me/);
    assert.deepEqual([finish, stats.tokens, stats.promptTokens, stats.cachedTokens], ["length", 5, 13, 0]);
    assert.ok(stats.tokensPerSecond > 0 && stats.promptTokensPerSecond > 0);
  });

  test("--raw goes on behind the text; --stop ends it; a seed repeats it", () => {
    const args = [
      "-p",
      "<｜User｜>What is 17 + 25?<｜Assistant｜>",
      "--raw",
      "--seed",
      "7",
      "--stop",
      "double",
    ];
    const [a, b] = [runMain("generate", R1, ...args), runMain("generate", R1, ...args)];
    assert.equal(a.status, 0, a.stderr);
    assert.ok(a.stdout.length > 3);
    assert.equal(a.stdout, b.stdout);
    assert.doesNotMatch(a.stdout, /double/);
    assert.doesNotMatch(a.stderr, /^thinking/m);
  });

  test("what cannot be done is one line and a status", (t) => {
    const broken = join(temporaryFolder(t), "model");
    cpSync(R1, broken, { recursive: true });
    const config = JSON.parse(readFileSync(join(R1, "config.json"), "utf8"));
    writeFileSync(join(broken, "config.json"), JSON.stringify({ ...config, hidden_act: "gelu" }));
    const cases: [string[], number, RegExp][] = [
      [[R1, "-p", ""], 2, /^error: Cannot generate behind an empty prompt/],
      [[R1, "-p", "x", "--raw", "--system", "y"], 2, /^error: Cannot use --system with --raw/],
      [[R1, "-p", "x", "--temperature", "hot"], 2, /'hot' is invalid.*wanted a number/],
      [[R1, "-p", "x", "--max-tokens", "0"], 2, /wanted a whole number above 0/],
      [
        [R1, "-p", "x", "--top-p", "2"],
        2,
        /^error: Cannot sample with --top-p 2, wanted a number above 0 and up to 1$/m,
      ],
      [[R1, "-p", "x", "--threads", "257"], 2, /'257' is invalid.*wanted a whole number from 1 to 256/],
      [[R1, "-p", "x", "--seed", "1.5"], 2, /^error: Cannot sample with --seed 1.5/m],
      [
        [R1, "-p", "1 + ".repeat(600)],
        2,
        /^error: Cannot use the prompt: it has \d+ tokens, wanted at most the 1024/m,
      ],
      [["/nowhere", "-p", "x"], 3, /^error: Cannot open "\/nowhere"/],
      [[broken, "-p", "x"], 3, /^error: Cannot read "hidden_act" of config.json/],
    ];
    for (const [args, wanted, message] of cases) {
      const { status, stdout, stderr } = runMain("generate", ...args);
      assert.deepEqual([status, stdout], [wanted, ""], stderr);
      assert.match(stderr, message);
      assert.doesNotMatch(stderr, /internal/);
    }
  });
});

test("progress of the prompt, as events", () => {
  const { status, stderr } = runMain(
    "generate",
    R1,
    "-p",
    QUESTION,
    "--max-tokens",
    "2",
    "--progress",
    "json",
  );
  assert.equal(status, 0);
  assert.match(stderr, /^\{"kind":"prompt","tokensDone":13,"tokensTotal":13\}$/m);
});

describe("experts from disk", () => {
  const ask = ["-p", QUESTION, "--temperature", "0", "--threads", "1"];

  test("--expert-memory: the same answer, and what was read for it", () => {
    const { status, stdout, stderr } = runMain("generate", R1, ...ask, "--expert-memory", "600kB");
    assert.deepEqual([status, stdout], [0, ANSWER], stderr);
    assert.match(stderr, /^experts: 24 of 48 in memory at a time, 590 kB$/m);
    assert.match(
      stderr,
      /experts \d+ % in memory, \d+ % read ahead, [\d.]+ kB\/token from disk, \d+ % of the time waited$/m,
    );
    assert.doesNotMatch(stderr, /MTP/);
  });

  test("less than one token's experts is raised to that, and said; --mtp speculates all the same", () => {
    const { status, stdout, stderr } = runMain("generate", R1, ...ask, "--expert-memory", "1kB", "--mtp");
    assert.deepEqual([status, stdout], [0, ANSWER], stderr);
    assert.match(stderr, /^experts: 16 of 64 .*; those of one token, the least that is kept$/m);
    assert.match(stderr, /MTP \d+ of \d+ drafts kept/);
  });

  test("--json has the figures", () => {
    const { status, stdout } = runMain("generate", R1, ...ask, "--expert-memory", "0.6MB", "--json");
    const { stats, content } = JSON.parse(stdout);
    assert.deepEqual([status, `${content}\n`], [0, ANSWER]);
    for (const use of [stats.experts.prompt, stats.experts.answer])
      assert.deepEqual(Object.keys(use), ["hits", "ahead", "misses", "guesses", "bytes", "waiting"]);
    assert.ok(stats.experts.answer.hits > 0 && stats.experts.prompt.bytes > 0);
  });

  test("perplexity and logits take it too", (t) => {
    const text = join(temporaryFolder(t), "text.txt");
    writeFileSync(text, "What is 17 + 25? 17 + 25 = 42. ".repeat(20));
    const scores = [[], ["--expert-memory", "1"]].map((more) => {
      const { status, stdout, stderr } = runMain("perplexity", R1, "--text", text, "--json", ...more);
      assert.equal(status, 0, stderr);
      return JSON.parse(stdout).reports[0].nll;
    });
    assert.equal(scores[1], scores[0]);
  });

  test("a size that is none is refused", () => {
    const { status, stderr } = runMain("generate", R1, ...ask, "--expert-memory", "much");
    assert.equal(status, 2);
    assert.match(stderr, /wanted a size such as 20GB/);
  });
});

describe("chimera chat", () => {
  test("answers line by line, keeps what was computed, saves, and forgets on /reset", (t) => {
    const file = join(temporaryFolder(t), "chat.json");
    const lines = [
      QUESTION,
      "",
      "/think",
      "And 3 + 4?",
      `/save ${file}`,
      `/save ${file}`,
      "/reset",
      QUESTION,
    ];
    const input = [...lines, "/nothing", "/help", "/quit", "never"].join("\n");
    const { status, stdout, stderr } = runWith(
      input,
      "chat",
      R1,
      "--temperature",
      "0",
      "--system",
      "Be brief.",
    );
    assert.equal(status, 0, stderr);
    assert.equal(stdout.split(/(?<=\n)/)[0], ANSWER);
    assert.equal(stdout.split(/(?<=\n)/).at(-1), ANSWER);
    assert.equal(stderr.match(/^thinking$/gm)!.length, 1, "/think has turned it off");
    assert.equal(stderr.match(/^prompt \d+ tokens \(\d+ cached\).* · answer /gm)!.length, 2);
    assert.match(stderr, /^saved 5 messages in .*chat.json$/m);
    assert.match(stderr, /^error: Cannot write ".*chat.json": it exists, wanted a new file$/m);
    assert.match(stderr, /^error: there is no \/nothing, \/help lists what there is$/m);
    assert.match(stderr, /^\/save FILE/m);
    const { schemaVersion, model, messages } = JSON.parse(readFileSync(file, "utf8"));
    assert.deepEqual([schemaVersion, model], [1, "mini-r1"]);
    assert.deepEqual(
      messages.map(({ role }: { role: string }) => role),
      ["system", "user", "assistant", "user", "assistant"],
    );
    assert.equal(messages[2].content, ANSWER.trim());
    assert.match(messages[2].reasoning_content, /^Let me work this out/);
  });

  test("a question that does not fit ends a script with an error", () => {
    const { status, stderr } = runWith(`${QUESTION}\n`, "chat", R1, "--context", "10");
    assert.equal(status, 2);
    assert.match(
      stderr,
      /^error: Cannot use the prompt: it has 13 tokens, wanted at most the 10 of the context$/m,
    );
  });
});

describe("chimera logits", () => {
  test("--ids with --hidden: what the reference has", (t) => {
    const folder = temporaryFolder(t);
    const expected = expectedOf("v3-fp8");
    const ids = join(folder, "ids.json");
    const output = join(folder, "out.safetensors");
    writeFileSync(ids, JSON.stringify(promptsOf(expected)));
    const args = ["test/golden/forward/v3-fp8", "--ids", ids, "--hidden", "-o", output];
    const { status, stdout, stderr } = runMain("logits", ...args);
    assert.equal(status, 0, stderr);
    assert.match(stdout, /^written {2}.*out.safetensors: logits \[\d+, \d+, \d+\]$/m);
    const tensors = readShardTensors(readFileSync(output));
    const wanted = [...expected.keys()].filter((name) => name === "logits" || name.startsWith("hidden."));
    assert.deepEqual([...tensors.keys()].sort(), ["input_ids", ...wanted].sort());
    for (const name of wanted) {
      const { bytes, shape } = tensors.get(name)!;
      assert.deepEqual(shape, expected.get(name)!.shape);
      const error = relativeError(new Float32Array(new Uint8Array(bytes).buffer), expected.get(name)!.values);
      assert.ok(error < 1e-4, `${name}: ${error}`);
    }
  });

  test("--text: BOS and the text's tokens; bad ids are refused", (t) => {
    const folder = temporaryFolder(t);
    const output = join(folder, "out.safetensors");
    const { status, stdout } = runMain("logits", R1, "--text", QUESTION, "-o", output, "--json");
    assert.equal(status, 0);
    assert.equal(JSON.parse(stdout).shape[2], 640);
    const ids = join(folder, "ids.json");
    const refuse = (text: string, message: RegExp) => {
      writeFileSync(ids, text);
      const { status, stderr } = runMain("logits", R1, "--ids", ids, "-o", output);
      assert.equal(status, 2, stderr);
      assert.match(stderr, message);
    };
    refuse("[1, 2", /^error: Cannot read ".*": .*, wanted JSON$/m);
    refuse("[[1, 2], [3]]", /a list has 1 ids and the first 2, wanted one length/);
    refuse("[1, 640]", /^error: Cannot embed token 640, wanted an id from 0 to 639$/m);
    assert.equal(runMain("logits", R1, "-o", output).status, 2);
  });

  test("progress counts tokens, of logits and of perplexity", (t) => {
    const folder = temporaryFolder(t);
    const [ids, text] = [join(folder, "ids.json"), join(folder, "text.txt")];
    writeFileSync(ids, JSON.stringify([Array(300).fill(5), Array(300).fill(7)]));
    writeFileSync(text, "17 + 25 = 42. ".repeat(60));
    const all = ["--progress", "json"];
    for (const args of [
      ["logits", R1, "--ids", ids, "-o", join(folder, "out")],
      ["perplexity", R1, "--text", text],
    ]) {
      const lines = runMain(...args, ...all)
        .stderr.trim()
        .split("\n");
      const events = lines.map((line) => JSON.parse(line)).filter(({ tokensTotal }) => tokensTotal);
      assert.ok(events.length > 1, args[0]);
      assert.equal(events.at(-1).tokensDone, events.at(-1).tokensTotal);
    }
  });
});

describe("chimera perplexity", () => {
  test("a model is not apart from itself, and is from another", (t) => {
    const file = join(temporaryFolder(t), "text.txt");
    writeFileSync(file, "17 + 25 = 42. Let me double-check: 25 + 17 = 42. Good.\n".repeat(8));
    const report = (...args: string[]) => {
      const { status, stdout, stderr } = runMain("perplexity", R1, "--text", file, "--window", "64", ...args);
      assert.equal(status, 0, stderr);
      return stdout;
    };
    const same = JSON.parse(report("--against", R1, "--json"));
    const { meanKl, largestKl, top1Agreement, tokens } = same.divergence;
    assert.deepEqual([meanKl, largestKl, top1Agreement], [0, 0, 1]);
    assert.equal(tokens, same.reports[0].tokens);
    assert.equal(same.reports[0].nll, same.reports[1].nll);
    const other = JSON.parse(report("--against", "recipes/mini/r1t-half.yaml", "--json")).divergence;
    assert.ok(other.meanKl > 0 && other.top1Agreement <= 1);
    assert.match(report(), /^mini-r1 +stored +\d+ +[\d.]+ +[\d.]+ +[\d.]+$/m);
  });

  test("--weights int8 --against the same model is the error of int8, and says what each side used", (t) => {
    const file = join(temporaryFolder(t), "text.txt");
    writeFileSync(file, "17 + 25 = 42. Let me double-check: 25 + 17 = 42. Good.\n".repeat(8));
    const report = (...args: string[]) =>
      runMain("perplexity", R1, "--text", file, "--window", "64", "--against", R1, ...args);
    const { reports, divergence } = JSON.parse(report("--weights", "int8", "--json").stdout);
    assert.deepEqual(
      reports.map(({ weights, dotProduct }: Record<string, unknown>) => [weights, dotProduct]),
      [
        ["int8", "relaxed"],
        ["stored", undefined],
      ],
    );
    assert.ok(divergence.meanKl > 0 && divergence.meanKl < 0.2, `mean KL ${divergence.meanKl}`);
    assert.ok(divergence.top1Agreement > 0.9);
    const both = JSON.parse(report("--weights", "int8", "--against-weights", "int8", "--json").stdout);
    assert.deepEqual([both.divergence.meanKl, both.reports[1].weights], [0, "int8"]);
    const { stdout } = report("--weights", "int8");
    assert.match(stdout, /^mini-r1 +int8, relaxed +\d+ .*\nmini-r1 +stored +\d+ /m);
    assert.match(stdout, /^KL divergence +mean [\d.]+e-\d/m);
  });

  test("--against-weights needs another model, and no other form is known", () => {
    const alone = runMain("perplexity", R1, "--text", "README.md", "--against-weights", "int8");
    assert.equal(alone.status, 2);
    assert.match(alone.stderr, /Cannot use --against-weights without --against/);
    const odd = runMain("generate", R1, "-p", "x", "--weights", "int4");
    assert.equal(odd.status, 2);
    assert.match(odd.stderr, /Allowed choices are stored, int8/);
  });
});
