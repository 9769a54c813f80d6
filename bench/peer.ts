/**
 * Our runtime against llama.cpp on the same model, in the same run, on the same threads. Before anything is
 * timed, the peer must give our tokens and logits: of a trained model, whose weights it gets unrounded and in
 * both formats, and of the synthetic model that is timed.
 */
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { convertToGguf, OUTPUT_TYPES, type OutputType } from "../src/convert/convert.ts";
import { checkpointReference } from "../src/logical/checkpoint-weights.ts";
import { argmax, generate } from "../src/runtime/generate.ts";
import { loadModel } from "../src/runtime/load-model.ts";
import type { Model } from "../src/runtime/model.ts";
import type { ModelOptions } from "../src/runtime/model-options.ts";
import { attachText } from "../src/runtime/talk.ts";
import { DECODED, PROMPT_TOKENS, promptOf, roundOf, type Speed, speedsOf, threadCounts } from "./decoding.ts";
import { configTextOf, RUNNING_CONFIG } from "./parents/config.ts";
import { writeParent } from "./parents/write.ts";
import { differenceOf, type LogitDifference, ourLogits } from "./peer/compare.ts";
import { openPeer, type Peer } from "./peer/llama.ts";
import { memoryPlace, removeFolder } from "./places.ts";
import { printLine, printTable } from "./table.ts";

/** What we run: another way of loading is another line. The first gives the logits that the peer's are compared with. */
const OURS: readonly { name: string; options: ModelOptions }[] = [
  { name: "chimera FP8", options: {} },
  { name: "chimera int8", options: { weights: "int8" } },
];

/** What the peer runs, and how far its logits may be from ours on the synthetic model. */
const THEIRS: readonly { type: OutputType; limit: number }[] = [
  { type: "bf16", limit: 0.05 },
  { type: "q8_0", limit: 0.2 },
];

/** The trained model's: unrounded, only the order of sums and the peer's F16 cache differ. */
const TRAINED_LIMITS: readonly { type: OutputType; limit: number }[] = [
  { type: "f32", limit: 1e-5 },
  { type: "bf16", limit: 1e-2 },
  { type: "q8_0", limit: 5e-2 },
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
  const text = await attachText(await loadModel(reference));
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
    await convertToGguf(reference, path, { type, madeUpVocabulary: true });
    const model = await peer.load(path);
    const context = await model.newContext({ contextSize: CONTEXT, threads: 1 });
    const { tokens: theirs } = await context.generate(prompt, answer.length);
    const difference = await differenceOf(logits, { context, tokens });
    await context.dispose();
    await model.dispose();
    rmSync(path);
    if (type === "f32") assert.deepEqual(theirs, answer, `${peer.name} answers with other tokens than we do`);
    const { divergence } = difference;
    assert.ok(divergence < limit, `${type}: the peer's logits are ${divergence} nats from ours`);
    const same = theirs.findIndex((token, i) => token !== answer[i]);
    rows.push([
      OUTPUT_TYPES[type],
      ...shown(difference),
      `${same < 0 ? answer.length : same} of ${answer.length}`,
    ]);
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
  threads: number;
  name: string;
  /** The peer's file that it ran in turn with. */
  against: OutputType;
  /** Of the peer: the logits of the synthetic model against ours. */
  difference?: LogitDifference;
}

/** All of ours and one of the peer's take turns; its file is the only one on disk. */
async function compareSpeed(peer: Peer, folder: string): Promise<void> {
  const at = join(folder, "model");
  writeParent(at, { configText: configTextOf(RUNNING_CONFIG), seed: 1, shardBytes: 2e9 });
  const reference = checkpointReference(at);
  const prompt = promptOf(RUNNING_CONFIG.vocab_size);
  const compared = prompt.slice(0, COMPARED_TOKENS);
  const rows: Row[] = [];
  for (const { type, limit } of THEIRS) {
    const path = join(folder, `${type}.gguf`);
    await convertToGguf(reference, path, { type, madeUpVocabulary: true });
    const model = await peer.load(path);
    for (const threads of threadCounts()) {
      const ours: Model[] = [];
      for (const { options } of OURS)
        ours.push(await loadModel(reference, { ...options, threads, context: CONTEXT }));
      const context = await model.newContext({ contextSize: CONTEXT, threads });
      const logits = await ourLogits(ours[0]!, compared);
      const difference = await differenceOf(logits, { context, tokens: compared });
      assert.ok(difference.relative < limit, `${type}: logits are ${difference.relative} from ours`);
      const speeds = await speedsOf([
        ...ours.map((one) => roundOf(one, prompt)),
        () => context.generate(prompt, DECODED),
      ]);
      for (const [i, { name }] of OURS.entries()) rows.push({ threads, name, against: type, ...speeds[i]! });
      rows.push({
        threads,
        name: `llama.cpp ${OUTPUT_TYPES[type]}`,
        against: type,
        difference,
        ...speeds.at(-1)!,
      });
      for (const one of ours) await one.dispose();
      await context.dispose();
    }
    await model.dispose();
    rmSync(path);
  }
  printSpeeds(peer, rows);
}

/** By number of threads and file of the peer, each as a ratio to the peer. */
function printSpeeds(peer: Peer, rows: readonly Row[]): void {
  const table = threadCounts().flatMap((threads) =>
    THEIRS.flatMap(({ type }) => {
      const some = rows.filter((row) => row.threads === threads && row.against === type);
      const { prefill, decode } = some.at(-1)!;
      return some.map((row) => [
        `${threads}`,
        row.name,
        `${row.prefill.toFixed(1)} (${(row.prefill / prefill).toFixed(2)}×)`,
        `${row.decode.toFixed(1)} (${(row.decode / decode).toFixed(2)}×)`,
        row.difference ? row.difference.relative.toExponential(1) : "–",
      ]);
    }),
  );
  printTable(
    `peer: ${peer.name} on the synthetic model, ${PROMPT_TOKENS} tokens of prompt, ${DECODED} decoded`,
    ["threads", "what", "prefill tokens/s", "decode tokens/s", "its logits' relative error"],
    table,
  );
}
