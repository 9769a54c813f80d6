/**
 * Our runtime against llama.cpp on the same model, in the same run, on the same threads. Before anything is
 * timed, the peer must give our tokens and logits: of a trained model, whose weights it gets unrounded and in
 * both formats, and of the synthetic model that is timed.
 */
import assert from "node:assert/strict";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { checkpointReference } from "../src/logical/checkpoint-weights.ts";
import { argmax, generate } from "../src/runtime/generate.ts";
import { loadModel, type ModelOptions } from "../src/runtime/model.ts";
import { loadTextModel } from "../src/runtime/talk.ts";
import {
  DECODED,
  PROMPT_TOKENS,
  promptOf,
  type Speed,
  speedOf,
  speedOfModel,
  threadCounts,
} from "./decoding.ts";
import type { TensorType } from "./gguf/container.ts";
import { writeGguf } from "./gguf/write.ts";
import { configTextOf, RUNNING_CONFIG, unquantised } from "./parents/config.ts";
import { writeParent } from "./parents/write.ts";
import { differenceOf, type LogitDifference, ourLogits } from "./peer/compare.ts";
import { openPeer, type Peer } from "./peer/llama.ts";
import { memoryPlace, removeFolder } from "./places.ts";
import { printLine, printTable } from "./table.ts";

/** What we run. The first gives the logits that the peer's are compared with. */
const OURS: readonly { name: string; config: object; options: ModelOptions }[] = [
  { name: "chimera FP8", config: RUNNING_CONFIG, options: {} },
  { name: "chimera BF16", config: unquantised(RUNNING_CONFIG), options: {} },
];

/** What the peer runs, and how far its logits may be from ours on the synthetic model. */
const THEIRS: readonly { type: TensorType; limit: number }[] = [
  { type: "BF16", limit: 0.05 },
  { type: "Q8_0", limit: 0.1 },
];

/** The trained model's: unrounded, only the order of sums and the peer's F16 cache differ. */
const TRAINED_LIMITS: readonly { type: TensorType; limit: number }[] = [
  { type: "F32", limit: 1e-5 },
  { type: "BF16", limit: 1e-2 },
  { type: "Q8_0", limit: 5e-2 },
];
const TRAINED = fileURLToPath(new URL("../../models/mini-r1", import.meta.url));
const QUESTION = "What is 17 + 25?";
const ANSWER_TOKENS = 64;

const COMPARED_TOKENS = 48;
const CONTEXT = 1024;

export async function benchPeer(): Promise<string> {
  const peer = await openPeer();
  if (peer === undefined) {
    printLine("\npeer: left out, as node-llama-cpp is not installed (docs/BENCHMARKS.md says how)");
    return "nothing";
  }
  const place = memoryPlace(10e9);
  try {
    await checkTrained(peer, place.folder);
    await compareSpeed(peer, place.folder);
  } finally {
    removeFolder(place.folder);
    await peer.dispose();
  }
  return "the peer gives our tokens on a trained model, and our logits up to rounding on both";
}

/** A trained model's answer, token by token, and the logits behind each of its tokens. */
async function checkTrained(peer: Peer, folder: string): Promise<void> {
  const reference = checkpointReference(TRAINED);
  const text = await loadTextModel(reference);
  const prompt = text.tokenizer.encode(await text.render([{ role: "user", content: QUESTION }]));
  const sequence = text.model.newSequence();
  const options = { prompt, choose: argmax, maxTokens: ANSWER_TOKENS };
  const answer: number[] = [];
  for await (const token of generate(text.model, sequence, options)) answer.push(token);
  const tokens = [...prompt, ...answer];
  const logits = await ourLogits(text.model, tokens);
  await text.dispose();
  const rows: string[][] = [];
  for (const { type, limit } of TRAINED_LIMITS) {
    const path = join(folder, `trained-${type}.gguf`);
    await writeGguf(path, { reference, type });
    const model = await peer.load(path);
    const context = await model.newContext({ contextSize: CONTEXT, threads: 1 });
    const { tokens: theirs } = await context.generate(prompt, answer.length);
    const difference = await differenceOf(logits, { context, tokens });
    await context.dispose();
    await model.dispose();
    rmSync(path);
    if (type === "F32") assert.deepEqual(theirs, answer, `${peer.name} answers with other tokens than we do`);
    const { divergence } = difference;
    assert.ok(divergence < limit, `${type}: the peer's logits are ${divergence} nats from ours`);
    const same = theirs.findIndex((token, i) => token !== answer[i]);
    rows.push([type, ...shown(difference), `${same < 0 ? answer.length : same} of ${answer.length}`]);
  }
  printTable(
    `peer: a trained model (${tokens.length} tokens) in ${peer.name}, its logits against ours`,
    ["weights", "relative error", "largest KL", "same best token", "same answer"],
    rows,
  );
}

function shown({ relative, divergence, agreement }: LogitDifference): string[] {
  return [relative.toExponential(1), divergence.toExponential(1), `${(100 * agreement).toFixed(0)} %`];
}

interface Row extends Speed {
  name: string;
  threads: number;
  /** Of the peer: the logits of the synthetic model against ours. */
  difference?: LogitDifference;
}

async function compareSpeed(peer: Peer, folder: string): Promise<void> {
  const prompt = promptOf(RUNNING_CONFIG.vocab_size);
  const rows: Row[] = [];
  let logits: Float32Array | undefined;
  const compared = prompt.slice(0, COMPARED_TOKENS);
  for (const [i, { name, config, options }] of OURS.entries()) {
    const reference = synthetic(join(folder, `ours-${i}`), config);
    for (const threads of threadCounts()) {
      const model = await loadModel(reference, { ...options, threads, context: CONTEXT });
      // Weights beyond one memory of 4 GiB take more ranks than were asked for.
      if (model.need.numRanks === threads)
        rows.push({ name, threads, ...(await speedOfModel(model, prompt)) });
      logits ??= await ourLogits(model, compared);
      await model.dispose();
    }
    removeFolder(join(folder, `ours-${i}`));
  }
  const reference = synthetic(join(folder, "model"), OURS[0]!.config);
  for (const { type, limit } of THEIRS) {
    const path = join(folder, `${type}.gguf`);
    await writeGguf(path, { reference, type });
    const model = await peer.load(path);
    for (const threads of threadCounts()) {
      const context = await model.newContext({ contextSize: CONTEXT, threads });
      const difference = await differenceOf(logits!, { context, tokens: compared });
      assert.ok(difference.relative < limit, `${type}: logits are ${difference.relative} from ours`);
      const speed = await speedOf(() => context.generate(prompt, DECODED));
      await context.dispose();
      rows.push({ name: `llama.cpp ${type}`, threads, difference, ...speed });
    }
    await model.dispose();
    rmSync(path);
  }
  printSpeeds(peer, rows);
}

function synthetic(folder: string, config: object): ReturnType<typeof checkpointReference> {
  mkdirSync(folder);
  writeParent(folder, { configText: configTextOf(config), seed: 1, shardBytes: 2e9 });
  return checkpointReference(folder);
}

/** Rows by number of threads, each as a ratio to both of the peer's. */
function printSpeeds(peer: Peer, rows: readonly Row[]): void {
  const table = threadCounts().flatMap((threads) => {
    const some = rows.filter((row) => row.threads === threads);
    const ratios = (row: Row, of: "prefill" | "decode") =>
      THEIRS.map(({ type }) => some.find(({ name }) => name === `llama.cpp ${type}`)!).map(
        (other) => `${(row[of] / other[of]).toFixed(2)}×`,
      );
    return some.map((row) => [
      `${threads}`,
      row.name,
      row.prefill.toFixed(1),
      ...ratios(row, "prefill"),
      row.decode.toFixed(1),
      ...ratios(row, "decode"),
      row.difference ? row.difference.relative.toExponential(1) : "–",
    ]);
  });
  const against = THEIRS.map(({ type }) => `of ${type}`);
  printTable(
    `peer: ${peer.name} on the synthetic model, ${PROMPT_TOKENS} tokens of prompt, ${DECODED} decoded`,
    ["threads", "what", "prefill t/s", ...against, "decode t/s", ...against, "logits, relative error"],
    table,
  );
}
