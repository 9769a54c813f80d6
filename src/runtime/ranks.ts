/**
 * The ranks of a model, from the caller's side: started, loaded, sent pass after pass, ended. A thread that
 * fails or dies is an error of the pass that waits for it, and of every later one, never a hang.
 */
import { CheckpointError, Interrupted } from "../base/errors.ts";
import type { PassPlace } from "./exchange.ts";
import type { RankAnswer, RankFailure, RankMessage, RankSetup } from "./load-rank.ts";
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
  /** Why passes failed that are under way, by their numbers. */
  readonly #failures = new Map<number, Error>();
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
      if (answer.kind !== "failed" || answer.command === undefined) return;
      if (!this.#failures.has(answer.command)) this.#failures.set(answer.command, revive(answer));
    };
  }

  /** Passes that may be under way. */
  get mostPasses(): number {
    return this.#crew.mostPasses;
  }

  /**
   * Runs a pass, behind the one that is under way; `hidden` goes to where its hidden states come from. Returns where
   * its results are until another pass has its place. Throws what a rank has thrown.
   */
  async run(pass: Pass, hidden?: Float32Array): Promise<PassPlace> {
    if (this.#death) throw this.#death;
    const { place } = this.#crew;
    writePass(pass, place.description);
    if (hidden) place.normed.set(hidden);
    const { command, hasFailed } = await this.#crew.run();
    if (this.#death) throw this.#death;
    if (!hasFailed) return place;
    // The message may be on its way still.
    for (let i = 0; i < 100 && !this.#failures.has(command); i++)
      await new Promise((resolve) => setTimeout(resolve, 10));
    const failure = this.#failures.get(command);
    this.#failures.delete(command);
    throw failure ?? new Error("internal: a rank failed without a word");
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

function revive(answer: RankFailure): Error {
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
