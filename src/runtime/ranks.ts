/**
 * The ranks of a model, from the caller's side: started, loaded, sent pass after pass, ended. A thread that
 * fails or dies is an error of the pass that waits for it, and of every later one, never a hang.
 */
import { CheckpointError, Interrupted } from "../base/errors.ts";
import type { RankAnswer, RankMessage, RankSetup } from "./load-rank.ts";
import { type Pass, writePass } from "./pass.ts";
import { RankCrew } from "./rank-crew.ts";

interface LoadOptions {
  bytesTotal: number;
  signal?: AbortSignal;
  onEvent?: (event: { kind: "progress"; bytesDone: number; bytesTotal: number }) => void;
}

export class Ranks {
  readonly #crew: RankCrew;
  readonly #numRanks: number;
  #failure: Error | undefined;
  /** Why nothing runs any more: a thread has ended by itself, or all are being ended. */
  #death: Error | undefined;
  #onAnswer: (answer: RankAnswer) => void = () => {};
  #onDeath: (error: Error) => void = () => {};

  constructor(setups: readonly RankSetup[]) {
    this.#numRanks = setups.length;
    this.#crew = new RankCrew(setups, {
      onAnswer: (answer) => this.#onAnswer(answer),
      onDeath: (error) => this.#die(revive({ kind: "failed", ...describe(error) })),
    });
  }

  /** Frees whoever waits for a thread that is no more. */
  #die(error: Error): void {
    if (this.#death) return;
    this.#death = error;
    this.#onDeath(error);
    this.#crew.giveUp();
  }

  send(message: RankMessage): void {
    this.#crew.send(message);
  }

  async load({ bytesTotal, signal, onEvent }: LoadOptions): Promise<void> {
    let [bytesDone, ready] = [0, 0];
    let stop = () => {};
    const loaded = new Promise<void>((resolve, reject) => {
      stop = () => reject(new Interrupted("Loading was stopped"));
      if (signal?.aborted) stop();
      signal?.addEventListener("abort", stop);
      this.#onDeath = reject;
      this.#onAnswer = (answer) => {
        if (answer.kind === "failed") reject(revive(answer));
        else if (answer.kind === "loading") {
          bytesDone += answer.bytes;
          onEvent?.({ kind: "progress", bytesDone, bytesTotal });
        } else if (++ready === this.#numRanks) resolve();
      };
    });
    // A signal may outlive the loading by far, and many models.
    await loaded.finally(() => signal?.removeEventListener("abort", stop));
    this.#onAnswer = (answer) => {
      if (answer.kind === "failed") this.#failure ??= revive(answer);
    };
  }

  /** Runs a pass. Throws what a rank has thrown. */
  async run(pass: Pass): Promise<void> {
    if (this.#death) throw this.#death;
    writePass(pass, this.#crew.pass);
    this.#failure = undefined;
    const isDone = await this.#crew.run();
    if (this.#death) throw this.#death;
    if (isDone) return;
    // The message may be on its way still.
    for (let i = 0; i < 100 && !this.#failure; i++) await new Promise((resolve) => setTimeout(resolve, 10));
    throw this.#failure ?? new Error("internal: a rank failed without a word");
  }

  /** Ends the threads. A pass that runs, or waits for its turn, fails. */
  async end(): Promise<void> {
    this.#die(new Error("Cannot go on: the model has been disposed of, wanted one that is loaded"));
    await this.#crew.end();
  }
}

function describe({ name, message, stack }: Error): { name: string; message: string; stack?: string } {
  return { name, message, ...(stack ? { stack } : {}) };
}

function revive(answer: RankAnswer & { kind: "failed" }): Error {
  const { name, message, code, note, stack } = answer;
  if (name === "CheckpointError" || name === "NotFinite") {
    return new CheckpointError(code ?? "not-finite", message, note ? { note } : {});
  }
  // Memory that the system promised, and does not give after all.
  if (/could not allocate memory|allocation failed|out of memory/i.test(message))
    return new CheckpointError("not-enough-memory", `Cannot run the model: ${message}, wanted more memory`);
  const error = new Error(message);
  if (stack) error.stack = stack;
  return error;
}
