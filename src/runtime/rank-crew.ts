/**
 * Who runs the ranks of a model: a thread of Node for each. Between passes the threads sleep on a cell of the
 * exchange. (In a browser it is src/browser/rank-crew.ts.)
 */
import { Worker } from "node:worker_threads";
import { Conductor } from "./exchange.ts";
import type { RankAnswer, RankMessage, RankSetup } from "./load-rank.ts";

export interface CrewListener {
  onAnswer: (answer: RankAnswer) => void;
  /** A rank is no more, and was not ended. */
  onDeath: (error: Error) => void;
}

export class RankCrew {
  /** Where the next pass is described. */
  readonly pass: Int32Array;
  readonly #workers: Worker[];
  readonly #conductor: Conductor;

  /** Starts loading. */
  constructor(setups: readonly RankSetup[], { onAnswer, onDeath }: CrewListener) {
    this.#conductor = new Conductor(setups[0]!.exchange, setups.length);
    this.pass = this.#conductor.pass;
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

  /** Runs the pass; false when a rank has failed, whose answer tells why. */
  run(): Promise<boolean> {
    return this.#conductor.run();
  }

  /** Ends a pass that a rank will never finish. No other one may follow. */
  giveUp(): void {
    this.#conductor.giveUp();
  }

  async end(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }
}
