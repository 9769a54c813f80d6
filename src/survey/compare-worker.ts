/** One worker thread of a comparison: measures the pairs it is given, one after another. */
import { parentPort, workerData } from "node:worker_threads";
import { Interrupted } from "../base/errors.ts";
import type { Kernels } from "../kernels/kernels.ts";
import { createKernels } from "../kernels/probe.ts";
import { HEAP_BYTES, Heap } from "../logical/heap.ts";
import { measurePair, type PairEnvironment, type PairResult } from "./measure-pair.ts";
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

const port = parentPort!;
const setup = workerData as WorkerSetup;
const stop = new Int32Array(setup.stop);
const kernels: Kernels = createKernels(HEAP_BYTES, setup.kernels);
const heap = new Heap(kernels.bytes.length);
const shards = new Shards(setup.sides);

const send = (answer: WorkerAnswer) => port.postMessage(answer);
let unsent = 0;
let sentAt = 0;

const environment: PairEnvironment = {
  kernels,
  heap,
  shards,
  sample: setup.sample,
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
    // Of a sample only some bytes are read, here and there.
    if (setup.sample === undefined) await shards.expect(task.pairs.map(([, pair]) => pair));
    const results: PairResult[] = [];
    for (const [index, pair] of task.pairs)
      results.push({ index, ...(await measurePair(pair, environment)) });
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

function flush(): void {
  if (unsent > 0) send({ kind: "bytes", bytes: unsent });
  unsent = 0;
}
