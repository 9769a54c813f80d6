/**
 * Who runs the ranks of a model: a thread of Node for each. Between passes the threads sleep on a cell of the
 * exchange. (In a browser it is src/browser/rank-crew.ts.)
 */
import { Worker } from "node:worker_threads";
import { Conductor, MOST_PASSES, type PassPlace } from "./exchange.ts";
import type { RankAnswer, RankMessage, RankSetup } from "./load-rank.ts";

export interface CrewListener {
  onAnswer: (answer: RankAnswer) => void;
  /** A rank is no more, and was not ended. */
  onDeath: (error: Error) => void;
}

export interface PassEnd {
  /** Its number. */
  command: number;
  hasFailed: boolean;
}

export class RankCrew {
  /** Passes that may be under way. */
  readonly mostPasses: number = MOST_PASSES;
  readonly #workers: Worker[];
  readonly #conductor: Conductor;

  /** Starts loading. */
  constructor(setups: readonly RankSetup[], { onAnswer, onDeath }: CrewListener) {
    this.#conductor = new Conductor(setups[0]!.exchange);
    this.#workers = setups.map((setup, rank) => {
      const worker = new Worker(new URL("./rank-worker.js", import.meta.url), { workerData: setup });
      worker.on("message", onAnswer);
      worker.on("error", onDeath);
      worker.on("exit", (status) =>
        onDeath(new Error(`Cannot go on: thread ${rank} of the model has ended (status ${status})`)),
      );
      return worker;
    });
  }

  /** To every rank, before the next pass. */
  send(message: RankMessage): void {
    for (const worker of this.#workers) worker.postMessage(message);
  }

  /** Where the next pass is to be described, and its results will be. */
  get place(): PassPlace {
    return this.#conductor.place;
  }

  /** Runs the pass, behind the one that is under way. When a rank has failed, its answer tells why. */
  async run(): Promise<PassEnd> {
    const command = this.#conductor.begin();
    await this.#conductor.end(command);
    return { command, hasFailed: this.#conductor.hasFailed(command) };
  }

  /** Ends passes that a rank will never finish. No other one may follow. */
  giveUp(): void {
    this.#conductor.giveUp();
  }

  async end(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }
}
