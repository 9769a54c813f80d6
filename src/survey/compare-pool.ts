/**
 * Worker threads that measure pairs. Each takes the next batch when it is done with the last; batches follow
 * the base's files, so that every disk is read forwards. Results carry their pair's index: who measured what,
 * and when, leaves no trace in them.
 */
import { Worker } from "node:worker_threads";
import { CheckpointError, Interrupted } from "../base/errors.ts";
import type { Batch } from "./compare-batches.ts";
import type { SentError, WorkerAnswer, WorkerSetup, WorkerTask } from "./compare-worker.ts";
import type { PairResult } from "./measure-pair.ts";

export interface PoolOptions {
  setup: Omit<WorkerSetup, "stop">;
  workers: number;
  signal?: AbortSignal;
  onBytes: (bytes: number) => void;
  onMeasured: (results: readonly PairResult[]) => void;
}

/** Measures all batches. Throws the first error; Interrupted when the signal fired. */
export async function runPool(batches: readonly Batch[], options: PoolOptions): Promise<void> {
  const { setup, signal, onBytes, onMeasured } = options;
  const stop = new SharedArrayBuffer(4);
  const running = new Set<Worker>();
  const halt = () => {
    Atomics.store(new Int32Array(stop), 0, 1);
    // They write nothing, and one that waits for a server does not look at the flag.
    for (const worker of running) void worker.terminate();
  };
  signal?.addEventListener("abort", halt);
  if (signal?.aborted) halt();
  let next = 0;
  let failure: Error | undefined;

  const runWorker = () =>
    new Promise<void>((resolve) => {
      const worker = new Worker(new URL("./compare-worker.js", import.meta.url), {
        workerData: { ...setup, stop },
        execArgv: [], // whoever runs `node --input-type=module -e` would hand that down to a file
      });
      running.add(worker);
      let finished = false;
      const fail = (error: Error) => {
        failure ??= error;
        halt();
      };
      const give = () => {
        if (failure || signal?.aborted) return void worker.terminate();
        const pairs = batches[next++];
        worker.postMessage((pairs ? { kind: "measure", pairs } : { kind: "finish" }) satisfies WorkerTask);
      };
      worker.on("message", (answer: WorkerAnswer) => {
        if (answer.kind === "bytes") onBytes(answer.bytes);
        else if (answer.kind === "measured") {
          onMeasured(answer.results);
          give();
        } else if (answer.kind === "finished") {
          finished = true;
          void worker.terminate();
        } else fail(revive(answer.error));
      });
      worker.on("error", fail);
      worker.on("exit", () => {
        running.delete(worker);
        if (!finished && !failure && !signal?.aborted)
          fail(new Error("internal: a worker of the comparison ended early"));
        resolve();
      });
      give();
    });

  const count = Math.max(1, Math.min(options.workers, batches.length));
  try {
    if (batches.length > 0) await Promise.all(Array.from({ length: count }, runWorker));
  } finally {
    signal?.removeEventListener("abort", halt);
  }
  if (failure && !(failure instanceof Interrupted)) throw failure;
  if (signal?.aborted || failure) throw new Interrupted("The comparison was stopped");
}

function revive({ name, message, code, note, stack }: SentError): Error {
  if (name === "CheckpointError")
    return new CheckpointError(code ?? "unknown", message, note ? { note } : {});
  if (name === "Interrupted") return new Interrupted(message);
  const error = new Error(message);
  if (stack) error.stack = stack;
  return error;
}
