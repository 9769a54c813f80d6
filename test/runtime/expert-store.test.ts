/**
 * The store of experts under reads that take their time, end in any order and fail: what is computed with is
 * always the expert that was wanted, nothing hangs, and nothing is left behind.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createInference } from "../../src/kernels/inference-probe.ts";
import type { WeightSource } from "../../src/logical/weight-source.ts";
import { slotLayout } from "../../src/runtime/expert-reader.ts";
import { ExpertStore } from "../../src/runtime/expert-store.ts";
import { EXPERT_CELLS, NUM_EXPERT_CELLS } from "../../src/runtime/expert-use.ts";
import type { StreamedExpert, StreamedPart } from "../../src/runtime/weights.ts";
import { randomFrom } from "../build/support.ts";

const ROWS = 8;
const COLS = 32;
const BYTES = 4 * ROWS * COLS;
const PER_LAYER = 6;
const LAYERS = 3;
const NUM_EXPERTS = PER_LAYER * LAYERS;
const SLOTS_AT = 4096;

interface Disk {
  /** The expert's reads fail. */
  isBad: (expert: number) => boolean;
  /** Ticks that a read takes. */
  ticks: () => number;
  /** Whether the store is told where bytes lie, or has them made. */
  hasExtents: boolean;
}

/** Experts of three equal matrices, each number of which is 1 + the expert's number. */
function storeOf(numSlots: number, { isBad, ticks, hasExtents }: Disk) {
  let running = 0;
  const fill = async (expert: number, into: Uint8Array) => {
    running++;
    const value = new Uint8Array(Float32Array.of(1 + expert).buffer);
    // As a read on another thread does: what lies there is spoilt from the first moment to the last.
    for (let i = 0; i < into.length; i++) into[i] = 0x55;
    for (let left = ticks(); left > 0; left--) await new Promise((resolve) => setImmediate(resolve));
    running--;
    if (isBad(expert)) throw new Error(`no expert ${expert}`);
    for (let i = 0; i < into.length; i++) into[i] = value[i % 4]!;
  };
  const experts: StreamedExpert[] = Array.from({ length: NUM_EXPERTS }, (_, e) => ({
    layer: Math.floor(e / PER_LAYER),
    expert: e % PER_LAYER,
    parts: ["gate", "up", "down"].map((name): StreamedPart => {
      const blocks = { scales: 0, blockRows: 1, blockCols: 128, firstRow: 0 };
      const weight = { dtype: "F32" as const, data: 0, rows: ROWS, cols: COLS, ...blocks };
      return { name: `${e}.${name}`, from: 0, to: ROWS, byteLength: BYTES, heapBytes: BYTES, weight };
    }),
  }));
  const expertOf = (name: string) => Number(name.split(".")[0]);
  const stored = { dtype: "F32" as const, shape: [ROWS, COLS], hasScale: false };
  const names = experts.flatMap(({ parts }) => parts.map(({ name }) => name));
  const file = (name: string) => ({
    ...{ name, byteLength: BYTES, identity: "1:1", alignment: 1 },
    read: (into: Uint8Array) => fill(expertOf(name), into),
    checkUnchanged: async () => {},
    close: async () => {},
  });
  const source: WeightSource = {
    ...{ label: "test", config: {}, block: { rows: 128, cols: 128 } },
    weights: new Map(names.map((name) => [name, { name, ...stored }])),
    readSmall: async () => undefined,
    readScales: async () => undefined,
    read: async (name, _rows, into) => {
      await fill(expertOf(name), into);
      return undefined;
    },
    extentOf: async (name) => (hasExtents ? { source: file(name), offset: 0 } : undefined),
    close: async () => {},
  };
  const kernels = createInference(SLOTS_AT + numSlots * slotLayout(experts).slotBytes, "scalar");
  const cells = new Float64Array(NUM_EXPERT_CELLS);
  const common = { source, kernels, experts, slots: SLOTS_AT, numSlots, halfLife: 8, cells };
  const store = new ExpertStore(common);
  /** Fails unless the expert's three matrices are all there. */
  const compute = (expert: number) => {
    for (const { name, weight } of experts[expert]!.parts) {
      const values = kernels.floats.subarray(weight.data / 4, weight.data / 4 + ROWS * COLS);
      const wrong = values.findIndex((value) => value !== 1 + expert);
      assert.equal(wrong, -1, `${name}: element ${wrong} is ${values[wrong]}`);
    }
  };
  return { store, compute, cells, running: () => running };
}

type Random = () => number;

function someOf(random: Random, layer: number): number[] {
  const all = Array.from({ length: PER_LAYER }, (_, e) => layer * PER_LAYER + e);
  const some = all.filter(() => random() < 0.5);
  return some.length > 0 ? some : [all[Math.floor(random() * PER_LAYER)]!];
}

/** A layer as feed-forward.ts has it: waves where all do not fit, the next layer's experts with the last one. */
async function runLayer(
  { store, compute }: ReturnType<typeof storeOf>,
  { experts, next, random }: { experts: readonly number[]; next: readonly number[]; random: Random },
): Promise<void> {
  const { numSlots } = store;
  const size = experts.length <= numSlots ? experts.length : Math.max(1, Math.floor(numSlots / 2));
  const waves: { expert: number; tokens: number }[][] = [];
  for (let from = 0; from < experts.length; from += size)
    waves.push(experts.slice(from, from + size).map((expert) => ({ expert, tokens: 1 })));
  await store.poll();
  store.want(waves[0]!);
  for (const [i, wave] of waves.entries()) {
    const following = waves[i + 1];
    if (following && numSlots > 1) store.want(following);
    if (!following) store.expect(next, { sure: random() < 0.5 });
    let waiting = wave;
    while (waiting.length > 0) {
      const late = waiting.filter(({ expert }) => {
        if (!store.isReady(expert)) return true;
        compute(expert);
        return false;
      });
      if (late.length > 0) await store.arrival();
      waiting = late;
    }
    for (const { expert } of wave) compute(expert); // it stays until it is released
    store.release(wave);
    if (following && numSlots === 1) store.want(following);
  }
}

for (const hasExtents of [true, false]) {
  describe(hasExtents ? "experts that lie on disk" : "experts that are made", () => {
    for (const numSlots of [1, 2, 3, 5, 12, NUM_EXPERTS]) {
      test(`${numSlots} slots, reads of any length, some of which fail`, async () => {
        const random = randomFrom(1000 + numSlots);
        let bad = -1;
        const ticks = () => Math.floor(random() ** 3 * 12);
        const parts = storeOf(numSlots, { hasExtents, ticks, isBad: (expert) => expert === bad });
        const { store, cells, running } = parts;
        await store.prepare();
        let [failed, done] = [0, 0];
        for (let pass = 0; pass < 150; pass++) {
          bad = random() < 0.3 ? Math.floor(random() * NUM_EXPERTS) : -1;
          const layers = Array.from({ length: LAYERS }, (_, layer) => someOf(random, layer));
          let at = -1;
          try {
            for (const [layer, experts] of layers.entries()) {
              at = layer;
              const isRight = random() < 0.7;
              const next =
                layer + 1 === LAYERS ? [] : isRight ? layers[layer + 1]! : someOf(random, layer + 1);
              await runLayer(parts, { experts, next, random });
            }
            store.age(1);
            done++;
          } catch (error) {
            assert.deepEqual((error as Error).message, `no expert ${bad}`);
            assert.ok(layers[at]!.includes(bad), "an expert that nobody wanted was told of");
            await store.settle();
            assert.equal(running(), 0, "a read goes on after settle()");
            failed++;
          }
        }
        // Where there is room for all, each is read once: nothing fails after the first passes.
        assert.ok(done > 50 && (failed > 5 || numSlots === NUM_EXPERTS), `${failed} failed, ${done} done`);
        assert.ok(numSlots < NUM_EXPERTS || cells[EXPERT_CELLS.hits]! > cells[EXPERT_CELLS.misses]!);
      });
    }
  });
}
