// Runs the real lm-evaluation-harness against `chimera serve` and compares every answer with the library's own.
// Usage: node scripts/build.mjs && node scripts/lm-eval-server.mjs [python] [checkpoint]
// The Python has lm_eval (scripts/lm-eval-run.py says with what); without it the script says so and exits with 75.
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { loadModel } from "../dist/src/library/language-model.js";
import { likelihoodsBehind } from "../dist/src/runtime/likelihood.js";
import { gatherOutput } from "../dist/src/text/output-events.js";

const [python = "python3", checkpoint = "models/mini-r1"] = process.argv.slice(2);
const QUESTIONS = 24;
const TOLERANCE = 1e-3;

if (spawnSync(python, ["-c", "import lm_eval"]).status !== 0) {
  console.error(`Cannot run lm_eval: ${python} does not have it, wanted a Python with lm_eval 0.4`);
  process.exit(75);
}

const folder = mkdtempSync(join(tmpdir(), "lm-eval-"));
writeTasks();
const model = await loadModel(checkpoint);
const { tokenizer } = await model.text();
const server = await startServer();
let faults = 0;
let checked = 0;
try {
  const common = {
    ...{ model: basename(resolve(checkpoint)), num_concurrent: 4, max_length: 1024, max_retries: 1 },
  };
  const tokenized = { tokenizer: resolve(checkpoint), tokenizer_backend: "huggingface" };
  const url = `${server.url}/v1/completions`;
  for (const [name, more] of Object.entries({
    ids: {},
    texts: { tokenized_requests: false },
    batches: { num_concurrent: 1, batch_size: 8 },
  })) {
    const args = { ...common, ...tokenized, base_url: url, ...more };
    // Before a text the server puts a BOS; ids it takes as they are.
    const start = more.tokenized_requests === false ? [tokenizer.bos] : [];
    const { samples, results } = run(
      "local-completions",
      args,
      "chimera_choices,chimera_rolling,chimera_texts",
    );
    await checkChoices(samples.chimera_choices, start);
    await checkRolling(samples.chimera_rolling);
    await checkTexts(samples.chimera_texts, { start });
    console.log(`local-completions, ${name}:`, scores(results));
  }
  const chat = { ...common, base_url: `${server.url}/v1/chat/completions` };
  const { samples, results } = run("local-chat-completions", chat, "chimera_texts");
  await checkTexts(samples.chimera_texts, { isChat: true });
  console.log("local-chat-completions:", scores(results));
} finally {
  server.child.kill("SIGTERM");
  await model.dispose();
  rmSync(folder, { recursive: true, force: true });
}
console.log(`${checked} answers compared with the library's, ${faults} differ`);
process.exitCode = faults > 0 || checked === 0 ? 1 : 0;

function writeTasks() {
  const rows = (name) =>
    readFileSync(`tasks/mini/${name}.jsonl`, "utf8")
      .trim()
      .split("\n")
      .slice(0, QUESTIONS)
      .map((line) => JSON.parse(line));
  const capitals = rows("capitals");
  const choices = capitals.map(({ question, answer }, i) => {
    const others = [5, 11, 17].map((step) => capitals[(i + step) % capitals.length].answer);
    return { question, choices: [answer, ...others], label: 0 };
  });
  const texts = rows("sums").map(({ question, answer }) => ({ question, answer }));
  const rolling = texts
    .slice(0, 4)
    .map(({ question, answer }) => ({ text: `${question} ${answer} `.repeat(20) }));
  const write = (name, data, yaml) => {
    const file = join(folder, `${name}.jsonl`);
    writeFileSync(file, data.map((row) => `${JSON.stringify(row)}\n`).join(""));
    writeFileSync(
      join(folder, `${name}.yaml`),
      `task: ${name}\ndataset_path: json\ndataset_kwargs:\n  data_files:\n    test: ${file}\ntest_split: test\n${yaml}`,
    );
  };
  const choice =
    "output_type: multiple_choice\ndoc_to_text: '{{question}}'\ndoc_to_choice: choices\ndoc_to_target: label\n";
  write("chimera_choices", choices, `${choice}metric_list:\n  - metric: acc\n`);
  write(
    "chimera_rolling",
    rolling,
    "output_type: loglikelihood_rolling\ndoc_to_text: ''\ndoc_to_target: '{{text}}'\nmetric_list:\n  - metric: word_perplexity\n",
  );
  const generation = "generation_kwargs:\n  until: ['Good', 'Q:']\n  max_gen_toks: 200\n  temperature: 0\n";
  const texting = "output_type: generate_until\ndoc_to_text: '{{question}}'\ndoc_to_target: '{{answer}}'\n";
  write("chimera_texts", texts, `${texting}${generation}metric_list:\n  - metric: bypass\n`);
}

function run(kind, args, tasks) {
  const output = join(folder, "output.json");
  const script = ["scripts/lm-eval-run.py", kind, JSON.stringify(args), tasks, folder, output];
  const env = {
    ...process.env,
    OPENAI_API_KEY: "none",
    HF_HOME: join(folder, "home"),
    TOKENIZERS_PARALLELISM: "false",
  };
  const { status, stderr, stdout } = spawnSync(python, script, { encoding: "utf8", env, maxBuffer: 1 << 28 });
  if (status !== 0)
    throw new Error(`lm_eval ended with ${status}\n${stdout.slice(-2000)}\n${stderr.slice(-4000)}`);
  return JSON.parse(readFileSync(output, "utf8"));
}

function argumentsOf(sample, request) {
  return Object.values(Object.values(sample.arguments)[request]);
}

function firstOf(value) {
  return Array.isArray(value[0]) ? firstOf(value[0]) : value;
}

function differs(what, told, wanted) {
  checked++;
  if (
    told === wanted ||
    Math.abs(Number(told) - Number(wanted)) < TOLERANCE * Math.max(1, Math.abs(Number(wanted)))
  )
    return;
  faults++;
  console.error(`${what}: ${JSON.stringify(told)}, wanted ${JSON.stringify(wanted)}`);
}

/** Logits of each place, to tell whether a continuation is what the model itself would write. */
async function isGreedy(context, continuation) {
  const { logits, shape } = await model.forward([...context, ...continuation]);
  return continuation.every((id, i) => {
    const at = context.length + i - 1;
    const row = logits.subarray(at * shape[2], (at + 1) * shape[2]);
    return row.every((value) => value <= row[id]);
  });
}

async function checkChoices(samples, start) {
  for (const sample of samples)
    for (const [i, response] of sample.responses.entries()) {
      const [context, continuation] = argumentsOf(sample, i);
      const inner = tokenizer.encode(context);
      const before = [...start, ...inner];
      const behind = tokenizer.encode(context + continuation).slice(inner.length);
      const [wanted] = await likelihoodsBehind(model.engine, before, { continuations: [behind] });
      const [told, greedy] = firstOf(response);
      differs(`${context}|${continuation}`, Number(told), wanted);
      differs(
        `${context}|${continuation}, greedy`,
        String(greedy) === "True" || greedy === true,
        await isGreedy(before, behind),
      );
    }
}

async function checkRolling(samples) {
  const { bos } = tokenizer;
  for (const sample of samples) {
    const [text] = argumentsOf(sample, 0);
    const [wanted] = await likelihoodsBehind(model.engine, [bos], {
      continuations: [tokenizer.encode(text)],
    });
    differs(text.slice(0, 40), Number([sample.responses].flat(3)[0]), wanted);
  }
}

async function checkTexts(samples, { isChat = false, start = [] }) {
  for (const sample of samples) {
    const [context, { until, max_gen_toks: maxTokens }] = argumentsOf(sample, 0);
    const question = isChat ? JSON.parse([context].flat(2)[0])[0].content : context;
    const options = { temperature: 0, maxTokens, stop: until };
    let wanted = "";
    if (!isChat) {
      const ids = [];
      const prompt = [...start, ...tokenizer.encode(question)];
      for await (const id of model.generateIds(prompt, { maxTokens, stopIds: tokenizer.eos })) ids.push(id);
      const text = tokenizer.decode(ids, { skipSpecial: true });
      const ends = until.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
      wanted = text.slice(0, Math.min(text.length, ...ends));
    } else {
      const events = [];
      for await (const event of model.generate(question, options)) events.push(event);
      wanted = gatherOutput(events).content;
    }
    differs(question, [sample.responses].flat(3)[0], wanted);
  }
}

function scores(results) {
  const entries = Object.entries(results).map(([task, values]) => [
    task,
    Object.fromEntries(Object.entries(values).filter(([, value]) => typeof value === "number")),
  ]);
  return JSON.stringify(Object.fromEntries(entries));
}

async function startServer() {
  const args = ["bin/chimera.mjs", "serve", checkpoint, "--port", "0", "--json", "--log", "none"];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  for await (const line of createInterface(child.stdout)) return { child, url: JSON.parse(line).url };
  throw new Error("the server did not start");
}
