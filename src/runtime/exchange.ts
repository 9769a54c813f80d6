/**
 * What ranks share: barriers, descriptions of passes with room for their results, and buffers for activations.
 *
 * A rank computes some rows of every product and writes them here; after the barrier each takes all of them
 * into its own memory. Between two writes to one buffer there is always a barrier that comes after everyone
 * has read it. Waiting costs some microseconds and no message.
 *
 * Two passes may be under way: while ranks compute one, the caller reads what the last one gave and describes the
 * next one, which they begin without waiting for him. They take turns at two places; barriers belong to a place.
 */
import { sharedMemory } from "../base/shared-memory.ts";
import { NUM_EXPERT_CELLS } from "./expert-use.ts";

/** Passes that may be under way. */
export const MOST_PASSES = 2;

/** Cells of `control`: how many passes have begun, and of each place: */
const COMMAND = 0;
const FIRST_PLACE = 8;
const PLACE_CELLS = 8;
const ARRIVED = 0;
const EPOCH = 1;
const FAILED = 2;
/** Ranks that are done with the pass. */
const FINISHED = 3;
/** The last pass that all ranks were done with. */
const LAST = 4;
const NUM_CELLS: number = FIRST_PLACE + MOST_PASSES * PLACE_CELLS;

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

/** A place for one pass. */
export interface PassBuffers {
  /** What is to be done: see writePass(). */
  description: SharedArrayBuffer;
  /** After the final norm (of the MTP layer in its pass). */
  normed: SharedArrayBuffer;
  logits: SharedArrayBuffer;
  traces: SharedArrayBuffer;
}

export interface ExchangeBuffers {
  control: SharedArrayBuffer;
  passes: PassBuffers[];
  low: SharedArrayBuffer;
  heads: SharedArrayBuffer;
  middle: SharedArrayBuffer;
  /** What is added to the residual stream. */
  delta: SharedArrayBuffer;
  /** What ranks tell about their experts: NUM_EXPERT_CELLS float64 each. */
  expertUse: SharedArrayBuffer;
}

/** Numbers that describe a pass at the most. */
export const MAX_PASS_INTS: number = 1 << 18;

export function exchangeBytes(sizes: ExchangeSizes): number {
  const { rows, hidden, low, heads, middle, logits, logitRows, traces } = sizes;
  const results = rows * hidden * (1 + traces) + logits * logitRows;
  const floats = rows * (low + heads + middle + hidden) + MOST_PASSES * (results + MAX_PASS_INTS);
  return 4 * floats;
}

export function createExchange(sizes: ExchangeSizes, numRanks: number): ExchangeBuffers {
  const { rows, hidden, low, heads, middle, logits, logitRows, traces } = sizes;
  const floats = (count: number) => sharedMemory(4 * count);
  return {
    control: sharedMemory(4 * NUM_CELLS),
    passes: Array.from({ length: MOST_PASSES }, () => ({
      description: sharedMemory(4 * MAX_PASS_INTS),
      normed: floats(rows * hidden),
      logits: floats(logitRows * logits),
      traces: floats(rows * hidden * traces),
    })),
    low: floats(rows * low),
    heads: floats(rows * heads),
    middle: floats(rows * middle),
    delta: floats(rows * hidden),
    expertUse: sharedMemory(8 * NUM_EXPERT_CELLS * numRanks),
  };
}

/** A place for one pass, as numbers. */
export interface PassPlace {
  description: Int32Array;
  normed: Float32Array;
  logits: Float32Array;
  traces: Float32Array;
}

function placesOf({ passes }: ExchangeBuffers): PassPlace[] {
  return passes.map(({ description, normed, logits, traces }) => ({
    description: new Int32Array(description),
    normed: new Float32Array(normed),
    logits: new Float32Array(logits),
    traces: new Float32Array(traces),
  }));
}

/** First cell of the place that the n-th pass has. */
function cellsOf(command: number): number {
  return FIRST_PLACE + indexOf(command) * PLACE_CELLS;
}

function indexOf(command: number): number {
  return (command >>> 0) % MOST_PASSES;
}

/** Another rank has failed; its error is the one to tell. */
export class Abandoned extends Error {
  override name = "Abandoned";
}

/** A rank's end of the exchange. */
export class Exchange {
  readonly low: Float32Array;
  readonly heads: Float32Array;
  readonly middle: Float32Array;
  readonly delta: Float32Array;
  readonly expertUse: Float64Array;
  readonly #places: PassPlace[];
  readonly #control: Int32Array;
  readonly #numRanks: number;
  /** Which pass it is at, and the first cell of its place. */
  #command = 0;
  #cells = cellsOf(0);
  #hasFailed = false;

  constructor(buffers: ExchangeBuffers, numRanks: number) {
    this.#control = new Int32Array(buffers.control);
    this.#numRanks = numRanks;
    this.#places = placesOf(buffers);
    this.low = new Float32Array(buffers.low);
    this.heads = new Float32Array(buffers.heads);
    this.middle = new Float32Array(buffers.middle);
    this.delta = new Float32Array(buffers.delta);
    this.expertUse = new Float64Array(buffers.expertUse);
  }

  /** Which pass it is at: the first one is 1. */
  get command(): number {
    return this.#command;
  }

  /** The place of the pass that it is at. */
  get place(): PassPlace {
    return this.#places[indexOf(this.#command)]!;
  }

  /** Waits for all ranks. Throws Abandoned when one of them has failed. */
  barrier(): void {
    const control = this.#control;
    if (this.#numRanks === 1) return;
    const [arrived, epochCell, failed] = [this.#cells + ARRIVED, this.#cells + EPOCH, this.#cells + FAILED];
    const epoch = Atomics.load(control, epochCell); // before the look at FAILED: fail() changes both, in turn
    if (Atomics.load(control, failed) !== 0) throw new Abandoned("another rank has failed");
    if (Atomics.add(control, arrived, 1) + 1 === this.#numRanks) {
      Atomics.store(control, arrived, 0);
      Atomics.store(control, epochCell, (epoch + 1) | 0);
      Atomics.notify(control, epochCell);
    } else {
      sleepWhile(control, epochCell, epoch);
    }
    if (Atomics.load(control, failed) !== 0) throw new Abandoned("another rank has failed");
  }

  /** Waits for the next pass. */
  awaitCommand(): void {
    sleepWhile(this.#control, COMMAND, this.#command);
    this.#command = (this.#command + 1) | 0;
    this.#cells = cellsOf(this.#command);
    this.#hasFailed = false;
  }

  /** Lets no rank wait for this one any more. */
  fail(): void {
    this.#hasFailed = true;
    Atomics.store(this.#control, this.#cells + FAILED, 1);
    Atomics.add(this.#control, this.#cells + EPOCH, 1);
    Atomics.notify(this.#control, this.#cells + EPOCH);
  }

  /**
   * The rank is done with its pass; the last one wakes the caller. Behind a pass that has failed all wait for each
   * other: whoever is late still writes to buffers that the next pass needs.
   */
  finish(): void {
    const control = this.#control;
    const last = this.#cells + LAST;
    if (Atomics.add(control, this.#cells + FINISHED, 1) + 1 === this.#numRanks) {
      Atomics.store(control, last, this.#command);
      Atomics.notify(control, last);
    }
    if (!this.#hasFailed) return;
    for (;;) {
      const was = Atomics.load(control, last);
      if (was === this.#command) return;
      Atomics.wait(control, last, was);
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

/** The caller's end: starts passes and waits, without blocking its thread, until all ranks are done. */
export class Conductor {
  readonly #places: PassPlace[];
  readonly #control: Int32Array;

  constructor(buffers: ExchangeBuffers) {
    this.#control = new Int32Array(buffers.control);
    this.#places = placesOf(buffers);
  }

  /** Where the next pass is to be described. The pass that had the place before must be over. */
  get place(): PassPlace {
    return this.#places[indexOf(Atomics.load(this.#control, COMMAND) + 1)]!;
  }

  /** Lets the ranks begin what `place` describes, behind the pass that they are at; returns its number. */
  begin(): number {
    const control = this.#control;
    const command = (Atomics.load(control, COMMAND) + 1) | 0;
    for (const cell of [ARRIVED, FAILED, FINISHED]) Atomics.store(control, cellsOf(command) + cell, 0);
    Atomics.store(control, COMMAND, command);
    Atomics.notify(control, COMMAND);
    return command;
  }

  /** Whether a rank has failed in a pass. */
  hasFailed(command: number): boolean {
    return Atomics.load(this.#control, cellsOf(command) + FAILED) !== 0;
  }

  /** Waits for the end of a pass. */
  async end(command: number): Promise<void> {
    const control = this.#control;
    const { waitAsync } = Atomics as unknown as AsyncWait;
    const last = cellsOf(command) + LAST;
    for (;;) {
      const was = Atomics.load(control, last);
      if (was === command) return;
      await waitAsync(control, last, was).value;
    }
  }

  /** Ends passes that a rank will never finish. No other one may follow. */
  giveUp(): void {
    const control = this.#control;
    const newest = Atomics.load(control, COMMAND);
    for (let command = newest; command > newest - MOST_PASSES; command--) {
      const cells = cellsOf(command);
      Atomics.store(control, cells + FAILED, 1);
      Atomics.add(control, cells + EPOCH, 1);
      Atomics.notify(control, cells + EPOCH);
      Atomics.store(control, cells + LAST, command | 0);
      Atomics.notify(control, cells + LAST);
    }
  }
}
