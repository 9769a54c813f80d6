/**
 * Who runs the ranks of a model in a browser: instead of src/runtime/rank-crew.ts.
 *
 * Where threads can share memory, each rank has a Web Worker. Unlike threads of Node they cannot look for messages
 * while they sleep, so a pass begins and ends with a message, and new memory comes before it through the same port.
 * Within a pass they meet at the barrier of the exchange, as everywhere. Where no memory can be shared there is one
 * rank, in this very thread.
 */
import { CheckpointError, Interrupted } from "../../../base/errors.ts";
import { Conductor, type PassPlace } from "../../../runtime/exchange.ts";
import {
  failureOf,
  type LoadedRank,
  loadRank,
  type RankAnswer,
  type RankMessage,
  type RankSetup,
  runPass,
} from "../../../runtime/load-rank.ts";
import type { CrewListener, PassEnd } from "../../../runtime/rank-crew.ts";
import { nextTurn } from "../../breathe.ts";
import { copyPlaces } from "../../places.ts";
import type { FromRankWorker, ToRankWorker } from "../../rank-worker.ts";
import { hasThreads, startWorker } from "../../scope.ts";

interface Crew {
  send(message: RankMessage): void;
  /** Runs the pass that has begun; settles when every rank is done with it, or when nobody will be. */
  run(): Promise<void>;
  giveUp(): void;
  end(): void;
}

export class RankCrew {
  /** A pass begins with a message, behind whose answer nothing is gained by another one. */
  readonly mostPasses: number = 1;
  readonly #conductor: Conductor;
  readonly #crew: Crew;

  constructor(setups: readonly RankSetup[], listener: CrewListener) {
    this.#conductor = new Conductor(setups[0]!.exchange);
    this.#crew = hasThreads ? new WorkerCrew(setups, listener) : new LoneRank(setups, listener);
  }

  send(message: RankMessage): void {
    this.#crew.send(message);
  }

  get place(): PassPlace {
    return this.#conductor.place;
  }

  async run(): Promise<PassEnd> {
    const command = this.#conductor.begin();
    await this.#crew.run();
    return { command, hasFailed: this.#conductor.hasFailed(command) };
  }

  giveUp(): void {
    this.#conductor.giveUp();
    this.#crew.giveUp();
  }

  async end(): Promise<void> {
    this.#crew.end();
  }
}

class WorkerCrew implements Crew {
  readonly #workers: Worker[];
  #running = 0;
  #finish: () => void = () => {};

  constructor(setups: readonly RankSetup[], { onAnswer, onDeath }: CrewListener) {
    const places = copyPlaces();
    this.#workers = setups.map((setup) => {
      const worker = startWorker("rank-worker.js");
      worker.addEventListener("message", ({ data }: MessageEvent<FromRankWorker>) => {
        if (data.kind !== "passed") onAnswer(data);
        else if (--this.#running === 0) this.#finish();
      });
      worker.addEventListener("error", ({ message }) =>
        onDeath(new Error(message || "Cannot go on: a thread of the model could not be started")),
      );
      worker.postMessage({ kind: "load", setup, places } satisfies ToRankWorker);
      return worker;
    });
  }

  send(message: ToRankWorker): void {
    for (const worker of this.#workers) worker.postMessage(message);
  }

  run(): Promise<void> {
    this.#running = this.#workers.length;
    this.send({ kind: "run" });
    return new Promise((resolve) => {
      this.#finish = resolve;
    });
  }

  giveUp(): void {
    this.#finish();
  }

  end(): void {
    for (const worker of this.#workers) worker.terminate();
  }
}

class LoneRank implements Crew {
  readonly #onAnswer: (answer: RankAnswer) => void;
  #loaded: LoadedRank | undefined;
  #isOver = false;

  constructor(setups: readonly RankSetup[], { onAnswer }: CrewListener) {
    this.#onAnswer = onAnswer;
    void this.#load(setups);
  }

  async #load(setups: readonly RankSetup[]): Promise<void> {
    try {
      await nextTurn(); // whoever listens is there by then
      if (setups.length !== 1) throw needsThreads(setups.length);
      this.#loaded = await loadRank(setups[0]!, (answer) => {
        if (this.#isOver) throw new Interrupted("Loading was stopped");
        this.#onAnswer(answer);
      });
      this.#onAnswer({ kind: "ready" });
    } catch (error) {
      if (!this.#isOver) this.#onAnswer(failureOf(error));
    }
  }

  send({ slab }: RankMessage): void {
    this.#loaded!.cache.addSlab(slab);
  }

  async run(): Promise<void> {
    await nextTurn(); // lets in who wants to stop
    if (!this.#loaded) return;
    this.#loaded.exchange.awaitCommand(); // it is there
    await runPass(this.#loaded, this.#onAnswer);
  }

  giveUp(): void {}

  end(): void {
    this.#isOver = true;
    this.#loaded = undefined;
  }
}

function needsThreads(numRanks: number): CheckpointError {
  return new CheckpointError(
    "no-threads",
    `Cannot run the model: it takes ${numRanks} threads, and this page has none, wanted one that is isolated`,
    { note: "The server must send Cross-Origin-Opener-Policy and Cross-Origin-Embedder-Policy" },
  );
}
