/** A page's end of the engine: starts the worker, sends requests, hands out events, makes errors of faults. */
import type { Problem } from "../base/errors.ts";
import type {
  EngineFault,
  EngineInfo,
  EngineRequester,
  EngineRequests,
  FromEngine,
  RequestName,
  RequestOptions,
  ToEngine,
} from "./engine-api.ts";

/** What the engine has thrown. `name` is that of the class there. */
export class EngineError extends Error {
  readonly code: string | undefined;
  readonly note: string | undefined;
  readonly problems: readonly Problem[];

  constructor({ name, message, code, note, problems }: EngineFault) {
    super(message);
    this.name = name;
    this.code = code;
    this.note = note;
    this.problems = problems ?? [];
  }
}

interface Waiting {
  resolve: (value: unknown) => void;
  reject: (error: Error) => void;
  onEvent: ((event: unknown) => void) | undefined;
}

export class EngineClient implements EngineRequester {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #numRequests = 0;
  /** Why the worker answers no more. */
  #death: Error | undefined;

  /** @param script URL of engine-worker.js, whose other files lie beside it */
  constructor(script: string | URL) {
    this.#worker = new Worker(script, { type: "module", name: "engine" });
    this.#worker.addEventListener("message", ({ data }: MessageEvent<FromEngine>) => this.#take(data));
    this.#worker.addEventListener("error", (event) => {
      const message = event.message || "its script could not be loaded";
      this.#die(new EngineError({ name: "Error", message: `Cannot run the engine: ${message}` }));
    });
  }

  /** Reads the list of models; before all other requests. */
  start(models: string | URL): Promise<EngineInfo> {
    return this.request("start", { models: new URL(models, document.baseURI).href });
  }

  /** Throws EngineError for what the engine throws, of the name "Interrupted" when the signal stopped it. */
  request<Name extends RequestName>(
    name: Name,
    params: EngineRequests[Name]["params"],
    { onEvent, signal }: RequestOptions<Name> = {},
  ): Promise<EngineRequests[Name]["value"]> {
    if (this.#death) return Promise.reject(this.#death);
    const id = ++this.#numRequests;
    const answer = new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject, onEvent: onEvent as Waiting["onEvent"] });
    });
    const abort = () => this.#send({ kind: "abort", id });
    try {
      this.#send({ kind: "request", id, name, params });
    } catch (error) {
      this.#waiting.delete(id);
      return Promise.reject(error); // parameters that cannot be sent: a function among them
    }
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort);
    return answer.finally(() => signal?.removeEventListener("abort", abort)) as Promise<never>;
  }

  /** Ends the worker and all that runs in it. Requests under way fail. */
  close(): void {
    this.#worker.terminate();
    this.#die(new EngineError({ name: "Interrupted", message: "The engine was closed" }));
  }

  #send(message: ToEngine): void {
    this.#worker.postMessage(message);
  }

  #take(answer: FromEngine): void {
    const waiting = this.#waiting.get(answer.id);
    if (!waiting) return;
    if (answer.kind === "event") {
      waiting.onEvent?.(answer.event);
      return;
    }
    this.#waiting.delete(answer.id);
    if (answer.kind === "result") waiting.resolve(answer.value);
    else waiting.reject(new EngineError(answer.error));
  }

  #die(error: Error): void {
    this.#death ??= error;
    for (const { reject } of this.#waiting.values()) reject(this.#death);
    this.#waiting.clear();
  }
}
