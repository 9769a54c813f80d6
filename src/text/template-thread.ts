/** One thread for rendering, started when it is needed and ended when a template does not end. */
import { Worker } from "node:worker_threads";
import type { RenderAnswer, RenderTask } from "./render-task.ts";

export type ThreadAnswer =
  | Exclude<RenderAnswer, { kind: "ready" }>
  | { kind: "timeout" }
  | { kind: "interrupted" }
  /** Out of memory, mostly. */
  | { kind: "died"; message: string };

const HEAP_MB = 512;

/**
 * Where this thread was busy for longer than the limit, the answer may lie here unread: timers come before messages. Two
 * turns of the loop let it in.
 */
async function patience(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setImmediate(resolve));
}

interface Task {
  task: RenderTask;
  timeMs: number;
  signal: AbortSignal | undefined;
}

export class TemplateThread {
  #worker: Worker | undefined;
  /** Whoever waits for the thread; undefined while it is idle. */
  #listener: ((event: RenderAnswer | { kind: "died"; message: string }) => void) | undefined;
  /** The thread does one task after the other, so that each has its own time. */
  #queue: Promise<unknown> = Promise.resolve();

  /** The time counts from when the thread takes the task. Throws TypeError for what cannot be sent to it. */
  run(task: RenderTask, timeMs: number, signal?: AbortSignal): Promise<ThreadAnswer> {
    const answer = this.#queue.then(() => this.#run({ task, timeMs, signal }));
    this.#queue = answer.catch(() => {});
    return answer;
  }

  async close(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.terminate();
  }

  async #run(task: Task): Promise<ThreadAnswer> {
    if (task.signal?.aborted) return { kind: "interrupted" };
    const isStarted = this.#worker !== undefined;
    const worker = this.#worker ?? this.#start();
    worker.ref();
    try {
      const answer = await this.#ask(worker, isStarted, task);
      if (answer.kind !== "rendered" && answer.kind !== "failed") await this.close();
      return answer;
    } finally {
      worker.unref(); // an idle thread keeps no program alive
    }
  }

  #ask(worker: Worker, isStarted: boolean, { task, timeMs, signal }: Task): Promise<ThreadAnswer> {
    return new Promise((resolve, reject) => {
      let timer: NodeJS.Timeout | undefined;
      const settle = (end: () => void) => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
        this.#listener = undefined;
        end();
      };
      const finish = (answer: ThreadAnswer) => settle(() => resolve(answer));
      const onAbort = () => finish({ kind: "interrupted" });
      const give = () => {
        try {
          worker.postMessage(task);
          timer = setTimeout(() => void patience().then(() => finish({ kind: "timeout" })), timeMs);
        } catch (cause) {
          const what = `Cannot give the chat template its variables: ${(cause as Error).message}`;
          settle(() => reject(new TypeError(what, { cause })));
        }
      };
      signal?.addEventListener("abort", onAbort);
      this.#listener = (event) => (event.kind === "ready" ? give() : finish(event));
      if (isStarted) give();
    });
  }

  #start(): Worker {
    const worker = new Worker(new URL("./template-worker.js", import.meta.url), {
      execArgv: [], // whoever runs `node --input-type=module -e` would hand that down to a file
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
    });
    const tell = (event: RenderAnswer | { kind: "died"; message: string }) => {
      if (this.#worker !== worker) return; // one that was given up still has its end to tell
      if (event.kind === "died") this.#worker = undefined;
      this.#listener?.(event);
    };
    worker.on("message", tell);
    worker.on("error", (error) => tell({ kind: "died", message: error.message }));
    worker.on("exit", (code) => tell({ kind: "died", message: `exit status ${code}` }));
    this.#worker = worker;
    return worker;
  }
}
