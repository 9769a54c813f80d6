/** One Web Worker for rendering, ended when a template does not end: instead of src/text/template-thread.ts. */
import type { RenderAnswer, RenderTask } from "../../../text/render-task.ts";
import type { ThreadAnswer } from "../../../text/template-thread.ts";
import { nextTurn } from "../../breathe.ts";
import { startWorker } from "../../scope.ts";

export class TemplateThread {
  #worker: { ready: Promise<void>; worker: Worker } | undefined;
  /** The worker does one task after the other, so that each has its own time. */
  #queue: Promise<unknown> = Promise.resolve();

  run(task: RenderTask, timeMs: number, signal?: AbortSignal): Promise<ThreadAnswer> {
    const answer = this.#queue.then(() => this.#run(task, timeMs, signal));
    this.#queue = answer.catch(() => {});
    return answer;
  }

  async close(): Promise<void> {
    this.#worker?.worker.terminate();
    this.#worker = undefined;
  }

  async #run(task: RenderTask, timeMs: number, signal: AbortSignal | undefined): Promise<ThreadAnswer> {
    if (signal?.aborted) return { kind: "interrupted" };
    this.#worker ??= start();
    const answer = await ask(this.#worker, { task, timeMs, signal });
    if (answer.kind !== "rendered" && answer.kind !== "failed") await this.close();
    return answer;
  }
}

function start(): { ready: Promise<void>; worker: Worker } {
  const worker = startWorker("template-worker.js");
  const ready = new Promise<void>((resolve) => {
    worker.addEventListener("message", () => resolve(), { once: true });
  });
  return { ready, worker };
}

function ask(
  { ready, worker }: { ready: Promise<void>; worker: Worker },
  { task, timeMs, signal }: { task: RenderTask; timeMs: number; signal: AbortSignal | undefined },
): Promise<ThreadAnswer> {
  return new Promise((resolve, reject) => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const settle = (end: () => void) => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      worker.removeEventListener("message", onMessage);
      worker.removeEventListener("error", onError);
      end();
    };
    const finish = (answer: ThreadAnswer) => settle(() => resolve(answer));
    const onAbort = () => finish({ kind: "interrupted" });
    const onError = ({ message }: ErrorEvent) => {
      finish({ kind: "died", message: message || "its script could not be started" });
    };
    const onMessage = ({ data }: MessageEvent<RenderAnswer>) => {
      if (data.kind !== "ready") finish(data);
    };
    signal?.addEventListener("abort", onAbort);
    worker.addEventListener("message", onMessage);
    worker.addEventListener("error", onError);
    void ready.then(() => {
      try {
        worker.postMessage(task);
        // Where this thread was busy for longer than the limit, the answer may lie here unread.
        timer = setTimeout(() => void nextTurn().then(() => finish({ kind: "timeout" })), timeMs);
      } catch (cause) {
        const what = `Cannot give the chat template its variables: ${(cause as Error).message}`;
        settle(() => reject(new TypeError(what, { cause })));
      }
    });
  });
}
