/**
 * What ranks share: a barrier, the description of the pass, and buffers for activations.
 *
 * A rank computes some rows of every product and writes them here; after the barrier each takes all of them
 * into its own memory. Between two writes to one buffer there is always a barrier that comes after everyone
 * has read it. Waiting costs some microseconds and no message.
 */
import { sharedMemory } from "../base/shared-memory.ts";
import { NUM_EXPERT_CELLS } from "./expert-use.ts";

/** Cells of `control`. */
const ARRIVED = 0;
const EPOCH = 1;
const FAILED = 2;
const COMMAND = 3;
const FINISHED = 4;
const NUM_CELLS = 8;

/** Looks at a cell this often before sleeping: about 20 µs, longer than most ranks are apart. */
const SPINS = 4000;

/** Sizes of the shared buffers, in float32. */
export interface ExchangeSizes {
  /** Rows of a pass at the most. */
  rows: number;
  hidden: number;
  /** Query latent, latent and rope key of a row. */
  low: number;
  /** Outputs of all heads of a row. */
  heads: number;
  /** Widths of everything between the two halves of the MLPs of a row. */
  middle: number;
  logits: number;
  /** Rows of logits of a pass at the most. */
  logitRows: number;
  /** Hidden states kept for the caller: after the embedding, each layer and the final norm; 0: none. */
  traces: number;
}

export interface ExchangeBuffers {
  control: SharedArrayBuffer;
  pass: SharedArrayBuffer;
  low: SharedArrayBuffer;
  heads: SharedArrayBuffer;
  middle: SharedArrayBuffer;
  /** What is added to the residual stream. */
  delta: SharedArrayBuffer;
  /** After the final norm (of the MTP layer in its pass). */
  normed: SharedArrayBuffer;
  logits: SharedArrayBuffer;
  traces: SharedArrayBuffer;
  /** What ranks tell about their experts: NUM_EXPERT_CELLS float64 each. */
  expertUse: SharedArrayBuffer;
}

/** Numbers that describe a pass at the most. */
export const MAX_PASS_INTS: number = 1 << 18;

export function exchangeBytes(sizes: ExchangeSizes): number {
  const { rows, hidden, low, heads, middle, logits, logitRows, traces } = sizes;
  const floats = rows * (low + heads + middle + hidden * (2 + traces)) + logits * logitRows;
  return 4 * (floats + MAX_PASS_INTS);
}

export function createExchange(sizes: ExchangeSizes, numRanks: number): ExchangeBuffers {
  const { rows, hidden, low, heads, middle, logits, logitRows, traces } = sizes;
  const floats = (count: number) => sharedMemory(4 * count);
  return {
    control: sharedMemory(4 * NUM_CELLS),
    pass: sharedMemory(4 * MAX_PASS_INTS),
    low: floats(rows * low),
    heads: floats(rows * heads),
    middle: floats(rows * middle),
    delta: floats(rows * hidden),
    normed: floats(rows * hidden),
    logits: floats(logitRows * logits),
    traces: floats(rows * hidden * traces),
    expertUse: sharedMemory(8 * NUM_EXPERT_CELLS * numRanks),
  };
}

/** Another rank has failed; its error is the one to tell. */
export class Abandoned extends Error {
  override name = "Abandoned";
}

/** A rank's end of the exchange. */
export class Exchange {
  readonly pass: Int32Array;
  readonly low: Float32Array;
  readonly heads: Float32Array;
  readonly middle: Float32Array;
  readonly delta: Float32Array;
  readonly normed: Float32Array;
  readonly logits: Float32Array;
  readonly traces: Float32Array;
  readonly expertUse: Float64Array;
  readonly #control: Int32Array;
  readonly #numRanks: number;
  #command = 0;

  constructor(buffers: ExchangeBuffers, numRanks: number) {
    this.#control = new Int32Array(buffers.control);
    this.#numRanks = numRanks;
    this.pass = new Int32Array(buffers.pass);
    this.low = new Float32Array(buffers.low);
    this.heads = new Float32Array(buffers.heads);
    this.middle = new Float32Array(buffers.middle);
    this.delta = new Float32Array(buffers.delta);
    this.normed = new Float32Array(buffers.normed);
    this.logits = new Float32Array(buffers.logits);
    this.traces = new Float32Array(buffers.traces);
    this.expertUse = new Float64Array(buffers.expertUse);
  }

  /** Waits for all ranks. Throws Abandoned when one of them has failed. */
  barrier(): void {
    const control = this.#control;
    if (this.#numRanks === 1) return;
    const epoch = Atomics.load(control, EPOCH); // before the look at FAILED: fail() changes both, in turn
    if (Atomics.load(control, FAILED) !== 0) throw new Abandoned("another rank has failed");
    if (Atomics.add(control, ARRIVED, 1) + 1 === this.#numRanks) {
      Atomics.store(control, ARRIVED, 0);
      Atomics.store(control, EPOCH, (epoch + 1) | 0);
      Atomics.notify(control, EPOCH);
    } else {
      sleepWhile(control, EPOCH, epoch);
    }
    if (Atomics.load(control, FAILED) !== 0) throw new Abandoned("another rank has failed");
  }

  /** Waits for the next pass. */
  awaitCommand(): void {
    sleepWhile(this.#control, COMMAND, this.#command);
    this.#command = Atomics.load(this.#control, COMMAND);
  }

  /** Lets no rank wait for this one any more. */
  fail(): void {
    Atomics.store(this.#control, FAILED, 1);
    Atomics.add(this.#control, EPOCH, 1);
    Atomics.notify(this.#control, EPOCH);
  }

  /** The rank is done with its pass; the last one wakes the caller. */
  finish(): void {
    if (Atomics.add(this.#control, FINISHED, 1) + 1 === this.#numRanks) {
      Atomics.notify(this.#control, FINISHED);
    }
  }
}

function sleepWhile(control: Int32Array, cell: number, value: number): void {
  for (let i = 0; i < SPINS; i++) if (Atomics.load(control, cell) !== value) return;
  while (Atomics.load(control, cell) === value) Atomics.wait(control, cell, value);
}

interface AsyncWait {
  waitAsync(
    cells: Int32Array,
    index: number,
    value: number,
  ): { async: boolean; value: Promise<string> | string };
}

/** The caller's end: starts a pass and waits, without blocking its thread, until all ranks are done. */
export class Conductor {
  readonly pass: Int32Array;
  readonly #control: Int32Array;
  readonly #numRanks: number;

  constructor(buffers: ExchangeBuffers, numRanks: number) {
    this.#control = new Int32Array(buffers.control);
    this.#numRanks = numRanks;
    this.pass = new Int32Array(buffers.pass);
  }

  /** Lets the ranks that wait for a command begin what `pass` describes. */
  begin(): void {
    const control = this.#control;
    for (const cell of [ARRIVED, FAILED, FINISHED]) Atomics.store(control, cell, 0);
    Atomics.add(control, COMMAND, 1);
    Atomics.notify(control, COMMAND);
  }

  /** Whether a rank has failed since the pass began. */
  get hasFailed(): boolean {
    return Atomics.load(this.#control, FAILED) !== 0;
  }

  /** Runs what `pass` describes. False when a rank has failed; its message tells why. */
  async run(): Promise<boolean> {
    this.begin();
    const control = this.#control;
    const { waitAsync } = Atomics as unknown as AsyncWait;
    for (;;) {
      const finished = Atomics.load(control, FINISHED);
      if (finished >= this.#numRanks) return !this.hasFailed;
      await waitAsync(control, FINISHED, finished).value;
    }
  }

  /** Ends a pass that a rank will never finish. No other one may follow. */
  giveUp(): void {
    Atomics.store(this.#control, FAILED, 1);
    Atomics.add(this.#control, EPOCH, 1);
    Atomics.notify(this.#control, EPOCH);
    Atomics.add(this.#control, FINISHED, this.#numRanks);
    Atomics.notify(this.#control, FINISHED);
  }
}
