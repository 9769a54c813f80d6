/** One worker thread of a comparison: measures the pairs it is given, one after another. */
import { parentPort, workerData } from "node:worker_threads";
import { Interrupted } from "../base/errors.ts";
import type { Kernels } from "../kernels/kernels.ts";
import { createKernels } from "../kernels/probe.ts";
import { HEAP_BYTES, Heap } from "../logical/heap.ts";
import { type Distance, identical, type MeasureOptions, measureTensor } from "../logical/measure.ts";
import type { Operand } from "../logical/operand.ts";
import type { Pair } from "./pair-up.ts";
import { Shards, type SideFiles } from "./shards.ts";

export interface WorkerSetup {
  sides: [base: SideFiles, other: SideFiles];
  sample: number | undefined;
  kernels: "auto" | "wasm" | "scalar";
  /** One int32 that is not 0 when the comparison is to stop. */
  stop: SharedArrayBuffer;
}

/** Pairs by their index, or the end of the work. */
export type WorkerTask = { kind: "measure"; pairs: [index: number, pair: Pair][] } | { kind: "finish" };

export interface PairResult {
  index: number;
  sums: Distance;
  identical: boolean;
}

export type WorkerAnswer =
  | { kind: "bytes"; bytes: number }
  | { kind: "measured"; results: PairResult[] }
  | { kind: "finished" }
  | { kind: "failed"; error: SentError };

/** Errors lose their class between threads; this is what the pool makes them anew from. */
export interface SentError {
  name: string;
  message: string;
  code?: string;
  note?: string;
  stack?: string;
}

const BYTES_INTERVAL_MS = 50;
const SAMPLE_BYTES = 1 << 20;

const port = parentPort!;
const setup = workerData as WorkerSetup;
const stop = new Int32Array(setup.stop);
const kernels: Kernels = createKernels(HEAP_BYTES, setup.kernels);
const heap = new Heap(kernels.bytes.length);
const shards = new Shards(setup.sides);

const send = (answer: WorkerAnswer) => port.postMessage(answer);
let unsent = 0;
let sentAt = 0;

const environment = {
  kernels,
  heap,
  checkpoint: () => {
    if (Atomics.load(stop, 0) !== 0) throw new Interrupted("stopped");
  },
  onBytes: (bytes: number) => {
    unsent += bytes;
    const now = performance.now();
    if (now - sentAt < BYTES_INTERVAL_MS) return;
    sentAt = now;
    flush();
  },
};

port.on("message", async (task: WorkerTask) => {
  try {
    if (task.kind === "finish") {
      await shards.checkAndClose();
      send({ kind: "finished" });
      return;
    }
    const results: PairResult[] = [];
    for (const [index, pair] of task.pairs) results.push({ index, ...(await measure(pair)) });
    flush();
    send({ kind: "measured", results });
  } catch (error) {
    const { name, message, code, note, stack } = error as SentError;
    send({
      kind: "failed",
      error: {
        name,
        message,
        ...(code ? { code } : {}),
        ...(note ? { note } : {}),
        ...(stack ? { stack } : {}),
      },
    });
  }
});

async function measure(pair: Pair): Promise<Omit<PairResult, "index">> {
  const [base, other] = [await shards.operand(pair, 0), await shards.operand(pair, 1)];
  const options: MeasureOptions = setup.sample === undefined ? {} : { sample: setup.sample };
  const sums = await measureTensor(base, other, environment, options);
  // Equal bytes give a difference of 0, so that bytes are only looked at where it is; they are cached then.
  return { sums, identical: sums.difference === 0 && (await sameBytes(base, other)) };
}

/** Of a sample, bytes are compared at as many places as values are. */
async function sameBytes(base: Operand, other: Operand): Promise<boolean> {
  const { sample } = setup;
  if (sample === undefined || base.byteLength <= sample * SAMPLE_BYTES)
    return identical([base, other], environment);
  if (base.dtype !== other.dtype) return false;
  const step = Math.floor(base.byteLength / sample);
  for (let place = 0; place < sample; place++) {
    const at = place * step + Math.floor((step - SAMPLE_BYTES) / 2);
    const parts = [base, other].map((operand) => {
      const { scale, ...weight } = operand;
      const part = { ...weight, offset: weight.offset + at, byteLength: SAMPLE_BYTES };
      return place === 0 && scale ? { ...part, scale } : part;
    });
    if (!(await identical(parts, environment))) return false;
  }
  return true;
}

function flush(): void {
  if (unsent > 0) send({ kind: "bytes", bytes: unsent });
  unsent = 0;
}
