/** One worker thread: builds one shard at a time, as the pool asks. */
import { parentPort, workerData } from "node:worker_threads";
import { Interrupted } from "../base/errors.ts";
import type { Store } from "../checkpoint/source.ts";
import { setThreadSignal } from "../checkpoint/stopping.ts";
import { openOutput, openStore } from "../checkpoint/stores.ts";
import { createKernels } from "../kernels/probe.ts";
import { HEAP_BYTES, Heap } from "../logical/heap.ts";
import type { PlanOutput, PlanParent } from "../plan/plan.ts";
import type { ShardTask } from "./assemble-shard.ts";
import { buildShard } from "./build-shard.ts";
import { type DirectOptions, DirectReading, type DirectReport } from "./direct.ts";
import { ParentSources } from "./sources.ts";
import type { ShardRecord } from "./state.ts";

export interface WorkerSetup {
  parents: PlanParent[];
  output: PlanOutput;
  planDigest: string;
  location: string;
  /** For places that are not folders. */
  staging?: string | undefined;
  kernels: "auto" | "wasm" | "scalar";
  hash: boolean;
  /** Past the system's cache. */
  direct?: DirectOptions | undefined;
  /** One int32 that is not 0 when the build is to stop. */
  stop: SharedArrayBuffer;
}

/** A shard to build, or to end what is asked of servers. */
export type WorkerOrder = ShardTask | "stop";

export type WorkerAnswer =
  | { kind: "bytes"; bytes: number }
  | { kind: "direct"; report: DirectReport }
  | { kind: "done"; record: ShardRecord }
  | { kind: "failed"; error: SentError };

/** Errors lose their class between threads; this is what the pool makes them anew from. */
export interface SentError {
  name: string;
  message: string;
  code?: string;
  note?: string;
  stack?: string;
}

const port = parentPort!;
const setup = workerData as WorkerSetup;
const stop = new Int32Array(setup.stop);
const kernels = createKernels(HEAP_BYTES, setup.kernels);
const target = openOutput(setup.location, { staging: setup.staging });

const requests = new AbortController();
setThreadSignal(requests.signal);

/** For all shards, from the first on: some know things, as the head of a GGUF, that cost time to learn. */
let stores: Store[] | undefined;

const send = (answer: WorkerAnswer) => port.postMessage(answer);

port.on("message", async (task: WorkerOrder) => {
  if (task === "stop") return requests.abort();
  let unsent = 0;
  let sentAt = 0;
  let written = { writtenBytes: 0, directWrittenBytes: 0 };
  const flush = () => {
    if (unsent > 0) send({ kind: "bytes", bytes: unsent });
    unsent = 0;
  };
  const direct = setup.direct && new DirectReading(setup.direct);
  try {
    stores ??= setup.parents.map(({ location }) => openStore(location));
    const record = await buildShard(task, {
      kernels,
      heap: new Heap(kernels.bytes.length),
      sources: new ParentSources(setup.parents, stores, direct),
      output: setup.output,
      target,
      planDigest: setup.planDigest,
      hash: setup.hash,
      checkpoint: () => {
        if (Atomics.load(stop, 0) !== 0) throw new Interrupted("stopped");
      },
      ...(direct
        ? {
            onDirect: (counts: typeof written) => {
              written = counts;
            },
          }
        : {}),
      onBytes: (bytes) => {
        unsent += bytes;
        const now = performance.now();
        if (now - sentAt < 50) return;
        sentAt = now;
        flush();
      },
    });
    flush();
    if (direct) send({ kind: "direct", report: { ...direct.counts, ...written } });
    send({ kind: "done", record });
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
