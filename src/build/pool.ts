/**
 * Worker threads that build shards: each takes the next one when it is done with the last.
 *
 * The first failure stops all: the others see the stop flag between two pieces, discard what they had
 * begun and end.
 */
import { Worker } from "node:worker_threads";
import { BuildError, CheckpointError, Interrupted } from "../base/errors.ts";
import type { ShardTask } from "./assemble-shard.ts";
import type { DirectReport } from "./direct.ts";
import type { ShardRecord } from "./state.ts";
import type { SentError, WorkerAnswer, WorkerOrder, WorkerSetup } from "./worker.ts";

/** Workers inherit the options of Node, but --input-type is for code without a file and would end them. */
const WORKER_OPTIONS = process.execArgv.some((option) => option.startsWith("--input-type"))
  ? { execArgv: [] }
  : {};

/** With a worker that was told to stop. */
const PATIENCE_MS = 1500;

export interface PoolOptions {
  setup: Omit<WorkerSetup, "stop">;
  workers: number;
  signal?: AbortSignal;
  /** Resolves when another task may be begun. What it throws ends all. */
  room?: () => Promise<void>;
  onBytes: (bytes: number) => void;
  onRecord: (record: ShardRecord, seconds: number) => void;
  onDirect?: (report: DirectReport) => void;
}

/** Builds all tasks. Throws the first error; Interrupted when the signal fired. */
export async function runPool(tasks: readonly ShardTask[], options: PoolOptions): Promise<void> {
  const { setup, signal, onBytes, onRecord } = options;
  const stop = new SharedArrayBuffer(4);
  const running = new Set<Worker>();
  let ending: NodeJS.Timeout | undefined;
  const halt = () => {
    Atomics.store(new Int32Array(stop), 0, 1);
    // One that waits for a server does not look at the flag: its requests end.
    for (const worker of running) worker.postMessage("stop" satisfies WorkerOrder);
    ending ??= setTimeout(() => {
      for (const worker of running) void worker.terminate();
    }, PATIENCE_MS);
  };
  signal?.addEventListener("abort", halt);
  if (signal?.aborted) halt();
  let next = 0;
  let failure: Error | undefined;

  const fail = (error: unknown) => {
    failure ??= error as Error;
    halt();
  };
  const runWorker = () =>
    new Promise<void>((resolve) => {
      const worker = new Worker(new URL("./worker.js", import.meta.url), {
        workerData: { ...setup, stop },
        ...WORKER_OPTIONS,
      });
      running.add(worker);
      let startedAt = 0;
      let isBusy = false;
      /** It has no more to do: that it ends is no failure. */
      let isEnding = false;
      const end = () => {
        isEnding = true;
        void worker.terminate();
      };
      const mayGo = () => next < tasks.length && !failure && !signal?.aborted;
      const give = () => {
        const task = mayGo() && running.has(worker) ? tasks[next++] : undefined;
        isBusy = task !== undefined;
        if (!task) return end();
        startedAt = performance.now();
        worker.postMessage(task satisfies WorkerOrder);
      };
      const giveWhenRoom = async () => {
        isBusy = false;
        if (options.room && mayGo()) await options.room().catch(fail);
        give();
      };
      const take = (answer: WorkerAnswer) => {
        if (answer.kind === "bytes") onBytes(answer.bytes);
        else if (answer.kind === "direct") options.onDirect?.(answer.report);
        else if (answer.kind === "done") {
          isBusy = false;
          onRecord(answer.record, (performance.now() - startedAt) / 1000);
          void giveWhenRoom();
        } else {
          isBusy = false;
          fail(revive(answer.error));
          end();
        }
      };
      worker.on("message", (answer: WorkerAnswer) => {
        try {
          take(answer);
        } catch (error) {
          fail(error); // the caller's callback threw; the worker stops between two pieces and answers
          if (answer.kind === "done") give();
        }
      });
      worker.on("error", (error) => fail(died(error)));
      worker.on("exit", (code) => {
        running.delete(worker);
        // Also one that waits for room: what would have been its task is nobody's.
        if (isBusy || !isEnding)
          fail(ending ? new Interrupted("stopped") : died(new Error(`exit status ${code}`)));
        resolve();
      });
      void giveWhenRoom();
    });

  const count = Math.max(1, Math.min(options.workers, tasks.length));
  try {
    // A thread that cannot be started fails the build too, when those that were have ended.
    if (tasks.length > 0) await Promise.all(Array.from({ length: count }, () => runWorker().catch(fail)));
  } finally {
    clearTimeout(ending);
    signal?.removeEventListener("abort", halt);
  }
  if (failure && !(failure instanceof Interrupted)) throw failure;
  if (signal?.aborted || failure)
    throw new Interrupted(
      "The build was stopped; what is complete is kept: run the same command again to go on",
    );
}

/** A thread that ended without an answer: out of memory, as a rule. */
function died(cause: Error): BuildError {
  return new BuildError(
    "worker-died",
    `Cannot go on: a worker thread died (${cause.message}), wanted its shard`,
    {
      note: "What is complete is kept. If memory was short, take fewer workers",
      cause,
    },
  );
}

function revive({ name, message, code, note, stack }: SentError): Error {
  const options = note ? { note } : {};
  if (name === "CheckpointError") return new CheckpointError(code ?? "unknown", message, options);
  if (name === "BuildError") return new BuildError(code ?? "unknown", message, options);
  if (name === "Interrupted") return new Interrupted(message);
  const error = new Error(message);
  if (stack) error.stack = stack;
  return error;
}
