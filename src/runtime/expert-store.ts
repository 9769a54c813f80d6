/**
 * Routed experts from disk (model.md section 18): a cache of some of them in a rank's heap. What a layer wants
 * is read when it is not here, all of it at once; what the next layer will probably want is read meanwhile.
 *
 * Reads run on other threads and write into the heap while this one computes; their ends are seen when this
 * thread waits. Each rank caches its own rows and decides for itself.
 */
import { ExpertReader, type ReaderOptions } from "./expert-reader.ts";
import { EXPECTED, ExpertSlots, READING, WANTED } from "./expert-slots.ts";
import { EXPERT_CELLS } from "./expert-use.ts";

/** More guesses than these are no guesses. */
const MOST_GUESSES = 64;

export interface ExpertStoreOptions extends ReaderOptions {
  numSlots: number;
  /** See SlotOptions. */
  halfLife: number;
  /** NUM_EXPERT_CELLS numbers. */
  cells: Float64Array;
}

/** An expert by its number in Placement.streamed, and how many tokens go to it. */
export interface ExpertWish {
  expert: number;
  tokens: number;
}

export class ExpertStore {
  readonly numSlots: number;
  readonly #slots: ExpertSlots;
  readonly #reader: ExpertReader;
  readonly #cells: Float64Array;
  /** Reads on their way, by expert. Never reject: see #failures. */
  readonly #reads = new Map<number, Promise<void>>();
  readonly #failures = new Map<number, unknown>();
  /** Wanted, but all slots were held. */
  #queue: number[] = [];
  /**
   * Reads ahead per layer, at the most, where they are guesses: as many as the disk does while a layer is
   * computed. More would keep what is wanted waiting, and half of them may be wrong.
   */
  #guesses = 2;
  /** Expected of the next layer that wants, and which of them are read for that. */
  #expected: number[] = [];
  readonly #guessed = new Set<number>();

  constructor(options: ExpertStoreOptions) {
    const { numSlots, halfLife } = options;
    this.numSlots = numSlots;
    this.#slots = new ExpertSlots({ numExperts: options.experts.length, numSlots, halfLife });
    this.#reader = new ExpertReader(options);
    this.#cells = options.cells;
  }

  prepare(): Promise<void> {
    return this.#reader.prepare();
  }

  /** So many tokens have gone through the model. */
  age(tokens: number): void {
    this.#slots.age(tokens);
  }

  /** Sees which reads have ended while this thread computed. */
  async poll(): Promise<void> {
    if (this.#reads.size > 0) await new Promise((resolve) => setImmediate(resolve));
  }

  /** Holds experts until they are released, and reads those that are not here. At most numSlots at a time. */
  want(wishes: readonly ExpertWish[]): void {
    const slots = this.#slots;
    const missing: number[] = [];
    for (const { expert, tokens } of wishes) {
      slots.use(expert, tokens);
      if (slots.slotOf(expert) < 0) missing.push(expert);
      else {
        this.#cells[EXPERT_CELLS.hits]!++;
        if (this.#guessed.has(expert)) this.#cells[EXPERT_CELLS.ahead]!++;
        slots.hold(expert, WANTED);
      }
    }
    this.#learn();
    for (const expert of this.#expected) slots.letGo(expert, EXPECTED);
    this.#expected = [];
    this.#guessed.clear();
    this.#cells[EXPERT_CELLS.misses]! += missing.length;
    this.#queue.push(...missing);
    this.#claimQueued();
  }

  /**
   * Reads experts that will probably be wanted, the likeliest first, as far as there is room; none that is
   * wanted gives way. `sure`: not a guess, as when many tokens go to nearly all experts.
   */
  expect(experts: readonly number[], { sure }: { sure: boolean }): void {
    const slots = this.#slots;
    let left = sure ? Infinity : Math.floor(this.#guesses);
    for (const expert of experts) {
      if (slots.slotOf(expert) < 0) {
        if (left-- <= 0) continue;
        const slot = slots.claim(expert);
        if (slot < 0) return;
        this.#cells[EXPERT_CELLS.guesses]!++;
        this.#guessed.add(expert);
        this.#read(expert, slot);
      }
      slots.hold(expert, EXPECTED);
      this.#expected.push(expert);
    }
  }

  /** Fewer guesses where the last ones are not read when their layer comes, more where they are. */
  #learn(): void {
    if (this.#guessed.size === 0) return;
    const isLate = [...this.#guessed].some((expert) => this.#slots.isHeld(expert, READING));
    this.#guesses = isLate ? Math.max(1, this.#guesses - 0.5) : Math.min(MOST_GUESSES, this.#guesses + 0.125);
  }

  release(wishes: readonly ExpertWish[]): void {
    for (const { expert } of wishes) this.#slots.letGo(expert, WANTED);
    this.#claimQueued();
  }

  /** Whether an expert that is wanted can be computed with. Throws what its read has thrown. */
  isReady(expert: number): boolean {
    const failure = this.#failures.get(expert);
    if (failure !== undefined) {
      this.#failures.delete(expert);
      throw failure;
    }
    return this.#slots.slotOf(expert) >= 0 && !this.#slots.isHeld(expert, READING);
  }

  /** Waits until a read has ended. */
  async arrival(): Promise<void> {
    const startedAt = performance.now();
    if (this.#reads.size === 0) throw new Error("internal: an expert is waited for that nobody reads");
    await Promise.race(this.#reads.values());
    this.#claimQueued();
    this.#cells[EXPERT_CELLS.waiting]! += (performance.now() - startedAt) / 1000;
  }

  /** Waits until no read writes to the heap any more, and forgets what was wanted: after a pass that failed. */
  async settle(): Promise<void> {
    this.#queue = [];
    await Promise.all(this.#reads.values());
    this.#failures.clear();
    this.#slots.letGoAll();
    this.#expected = [];
    this.#guessed.clear();
  }

  #claimQueued(): void {
    const left: number[] = [];
    for (const expert of this.#queue) {
      const slot = this.#slots.claim(expert, { despite: EXPECTED });
      if (slot < 0) left.push(expert);
      else {
        this.#slots.hold(expert, WANTED);
        this.#read(expert, slot);
      }
    }
    this.#queue = left;
  }

  #read(expert: number, slot: number): void {
    const slots = this.#slots;
    slots.hold(expert, READING);
    const read = this.#reader.read(expert, slot).then(
      (bytes) => {
        this.#cells[EXPERT_CELLS.bytes]! += bytes;
        slots.letGo(expert, READING);
        this.#reads.delete(expert);
      },
      (error: unknown) => {
        // A guess that fails is no harm: who wants the expert reads it again, and learns why.
        if (slots.isHeld(expert, WANTED)) this.#failures.set(expert, error);
        slots.drop(expert);
        this.#reads.delete(expert);
      },
    );
    this.#reads.set(expert, read);
  }
}
