/** An MTP layer's embedding and head are loaded once where they are copies of the main ones, and only there. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { modelConfigOf } from "../../src/arch/model-config.ts";
import { Interrupted } from "../../src/base/errors.ts";
import { checkpointReference, openWeights } from "../../src/logical/checkpoint-weights.ts";
import { loadModel } from "../../src/runtime/load-model.ts";
import type { Model } from "../../src/runtime/model.ts";
import { findMtpCopies } from "../../src/runtime/mtp-copies.ts";
import { readCheckpointTensors, type TensorContent, writeCheckpoint } from "../support/safetensors.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const GOLDEN = "test/golden/forward/v3-fp8";
const EMBEDDING = "model.layers.2.embed_tokens.weight";
const HEAD = "model.layers.2.shared_head.head.weight";

const folder = temporaryFolder({ after });
const config = JSON.parse(readFileSync(join(GOLDEN, "config.json"), "utf8")) as Record<string, unknown>;

function checkpoint(name: string, change: (tensors: Map<string, TensorContent>) => void): string {
  const tensors = readCheckpointTensors(GOLDEN);
  change(tensors);
  const list = [...tensors].map(([tensor, content]) => ({ name: tensor, ...content }));
  return writeCheckpoint(join(folder, name), {
    config,
    shards: [{ name: "model.safetensors", tensors: list }],
  });
}

/** Swaps the first two rows of a matrix. */
function swapRows({ bytes, shape }: TensorContent): void {
  const rowBytes = bytes.length / shape[0]!;
  const first = bytes.slice(0, rowBytes);
  bytes.copyWithin(0, rowBytes, 2 * rowBytes);
  bytes.set(first, rowBytes);
}

const folders = {
  equal: checkpoint("equal", () => {}),
  absent: checkpoint("absent", (tensors) => {
    tensors.delete(EMBEDDING);
    tensors.delete(HEAD);
  }),
  otherHead: checkpoint("other-head", (tensors) => swapRows(tensors.get(HEAD)!)),
  otherEmbedding: checkpoint("other-embedding", (tensors) => swapRows(tensors.get(EMBEDDING)!)),
  lastByte: checkpoint("last-byte", (tensors) => {
    const { bytes } = tensors.get(EMBEDDING)!;
    bytes[bytes.length - 2]! ^= 1;
  }),
};
const sizeOf = (name: string) => readCheckpointTensors(GOLDEN).get(name)!.bytes.length;

/** Draft logits for tokens 0 and 1 behind the same hidden states, and what the weights take. */
async function draft(location: string, threads = 1): Promise<{ logits: Float32Array[]; bytes: number }> {
  const model: Model = await loadModel(checkpointReference(location), { threads });
  try {
    const { hidden, vocab } = model.config.sizes;
    const states = Float32Array.from({ length: 2 * hidden }, (_, i) => Math.sin(i));
    const { logits } = await model.appendMtp(model.newSequence(), { tokens: [0, 1], hidden: states }, [0, 1]);
    return {
      logits: [logits.slice(0, vocab), logits.slice(vocab)],
      bytes: model.need.weightBytes,
    };
  } finally {
    await model.dispose();
  }
}

describe("the MTP layer's embedding and head", () => {
  test("copies take no memory, and change nothing", async () => {
    const [equal, absent] = [await draft(folders.equal), await draft(folders.absent)];
    assert.equal(equal.bytes, absent.bytes);
    assert.deepEqual(equal.logits, absent.logits);
  });

  for (const threads of [1, 2]) {
    test(`a head of its own is used, with ${threads} threads`, async () => {
      const [equal, own] = [await draft(folders.equal), await draft(folders.otherHead, threads)];
      assert.ok(own.bytes - equal.bytes >= sizeOf(HEAD)); // two ranks have the small vectors twice
      const [first, second, ...rest] = equal.logits[0]!;
      assert.deepEqual([...own.logits[0]!], [second, first, ...rest]);
    });
  }

  test("an embedding of its own is used", async () => {
    const [equal, own] = [await draft(folders.equal), await draft(folders.otherEmbedding)];
    assert.equal(own.bytes - equal.bytes, sizeOf(EMBEDDING));
    assert.notDeepEqual(own.logits[0], equal.logits[0]);
  });

  test("one bit at the end makes the difference", async () => {
    const [equal, own] = [await draft(folders.equal), await draft(folders.lastByte)];
    assert.equal(own.bytes - equal.bytes, sizeOf(EMBEDDING));
  });
});

test("reads that fail are one error, and nobody's rejection is left over", async (t) => {
  const model = modelConfigOf(config);
  assert.ok(!("problems" in model));
  const source = await openWeights({ location: folders.equal });
  const left: unknown[] = [];
  const onLeft = (reason: unknown) => left.push(reason);
  process.on("unhandledRejection", onLeft);
  t.after(() => process.off("unhandledRejection", onLeft));
  const broken = {
    ...source,
    read: async (name: string) => {
      throw new Error(`no ${name}`);
    },
  };
  try {
    await assert.rejects(findMtpCopies(broken, model), { message: `no ${EMBEDDING}` });
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(left, []);
  } finally {
    await source.close();
  }
});

test("findMtpCopies() names the copies, and stops when its signal fires", async () => {
  const model = modelConfigOf(config);
  assert.ok(!("problems" in model));
  const source = await openWeights({ location: folders.otherHead });
  try {
    assert.deepEqual(await findMtpCopies(source, model), [EMBEDDING]);
    await assert.rejects(findMtpCopies(source, model, { signal: AbortSignal.abort() }), Interrupted);
  } finally {
    await source.close();
  }
});
