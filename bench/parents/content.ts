/**
 * Content of synthetic tensors, with the distribution of real ones and fast to make.
 *
 * FP8 codes are Gaussian weights quantised per block: the largest magnitude of a block of 16,384 draws is
 * about four standard deviations, and the quantiser maps it to ±448, so codes are draws of N(0, 112²) with
 * ±448 once in each block. Subnormals are then 1 in 10⁴. (Uniformly random codes hold 1/16 of them, which
 * x86 multiplies at half speed: docs/LOG.md.)
 *
 * A few MB of material are drawn once; rows are copied from random places in it. What a tensor holds
 * depends on seed and name alone, not on what else is written.
 */
import { weightNameOf } from "../../src/arch/scale-names.ts";
import type { BlockSize } from "../../src/tensor/block.ts";
import { encodeE4m3 } from "../../src/tensor/float8.ts";
import { encodeBf16 } from "../../src/tensor/float16.ts";
import type { LayoutTensor } from "./layout.ts";

const MATERIAL = 1 << 20; // elements
const SIGMA = 448 / 4;
const LARGEST_CODE = 0x7e;

/** Whole numbers below 2^32 (xorshift32). Never ends in zero. */
export class Random {
  #state: number;

  constructor(seed: number) {
    // Neighbouring seeds must not give neighbouring streams.
    const mixed = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) >>> 0;
    this.#state = mixed || 1;
    for (let i = 0; i < 8; i++) this.next();
  }

  next(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x >>> 0;
    return this.#state;
  }

  /** A number from 0 to below - 1. */
  below(limit: number): number {
    return Math.floor((this.next() / 2 ** 32) * limit);
  }

  /** From 0 to 1, both left out. */
  open(): number {
    return (this.next() + 0.5) / 2 ** 32;
  }
}

/** FNV-1a: the seed of a tensor. */
function hashOf(text: string, seed: number): number {
  let hash = 0x811c9dc5 ^ seed;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

export class Content {
  readonly #seed: number;
  readonly #codes: Uint8Array = new Uint8Array(MATERIAL);
  readonly #halves: Uint8Array;

  constructor(seed: number) {
    this.#seed = seed;
    const random = new Random(seed);
    const halves = new Uint16Array(MATERIAL);
    for (let i = 0; i < MATERIAL; i += 2) {
      // Box and Muller: two uniform numbers give two independent Gaussian ones.
      const radius = Math.sqrt(-2 * Math.log(random.open()));
      const angle = 2 * Math.PI * random.open();
      for (const [j, z] of [radius * Math.cos(angle), radius * Math.sin(angle)].entries()) {
        this.#codes[i + j] = encodeE4m3(Math.max(-447, Math.min(447, SIGMA * z)));
        halves[i + j] = encodeBf16(Math.fround(0.02 * z));
      }
    }
    this.#halves = new Uint8Array(halves.buffer);
  }

  /**
   * The tensor's bytes as pieces of at most a few MB, in order. A piece is valid until the next is asked for.
   */
  *pieces({ name, dtype, shape, byteLength }: LayoutTensor, block: BlockSize): Generator<Uint8Array> {
    const random = new Random(hashOf(name, this.#seed));
    if (dtype === "F8_E4M3") yield* this.#codePieces(shape as [number, number], block, random);
    else if (dtype === "F32") yield this.#floats(name, byteLength / 4, random);
    else if (dtype === "BF16" && isNorm(name)) yield this.#aroundOne(byteLength, random);
    else if (dtype === "BF16") yield* this.#halfPieces(byteLength, random);
    else throw new RangeError(`Cannot fill "${name}": it is ${dtype}, wanted F8_E4M3, BF16 or F32`);
  }

  /** Bands of block.rows rows, each block with one code of ±448. */
  *#codePieces([rows, cols]: [number, number], block: BlockSize, random: Random): Generator<Uint8Array> {
    const band = new Uint8Array(Math.min(rows, block.rows) * cols);
    for (let row = 0; row < rows; row += block.rows) {
      const height = Math.min(block.rows, rows - row);
      const piece = band.subarray(0, height * cols);
      copyFrom(this.#codes, piece, { run: cols, step: 1, random });
      for (let col = 0; col < cols; col += block.cols) {
        const width = Math.min(block.cols, cols - col);
        const at = random.below(height) * cols + col + random.below(width);
        piece[at] = LARGEST_CODE | (random.next() & 0x80);
      }
      yield piece;
    }
  }

  *#halfPieces(byteLength: number, random: Random): Generator<Uint8Array> {
    const buffer = new Uint8Array(Math.min(byteLength, 4 << 20));
    for (let done = 0; done < byteLength; done += buffer.length) {
      const piece = buffer.subarray(0, Math.min(buffer.length, byteLength - done));
      copyFrom(this.#halves, piece, { run: 16384, step: 2, random });
      yield piece;
    }
  }

  /** Of a norm: activations keep their size, so that routers choose different experts for different tokens. */
  #aroundOne(byteLength: number, random: Random): Uint8Array {
    const codes = Uint16Array.from({ length: byteLength / 2 }, () => encodeBf16(0.95 + 0.1 * random.open()));
    return new Uint8Array(codes.buffer);
  }

  /** Scales vary around 1e-4; biases of the router are small, of either sign. */
  #floats(name: string, count: number, random: Random): Uint8Array {
    const isScale = weightNameOf(name) !== undefined;
    const values = Float32Array.from({ length: count }, () => {
      const u = random.open();
      return isScale ? 1e-4 * (0.75 + 0.5 * u) : 0.1 * (u - 0.5);
    });
    return new Uint8Array(values.buffer);
  }
}

function isNorm(name: string): boolean {
  return /norm\.weight$/.test(name);
}

/** Fills `to` with runs from random places of `material`, on multiples of `step`. */
function copyFrom(
  material: Uint8Array,
  to: Uint8Array,
  { run, step, random }: { run: number; step: number; random: Random },
): void {
  for (let at = 0; at < to.length; at += run) {
    const length = Math.min(run, to.length - at);
    if (length > material.length)
      throw new RangeError(`Cannot fill a row of ${length} bytes, wanted at most ${MATERIAL}`);
    const from = random.below((material.length - length) / step + 1) * step;
    to.set(material.subarray(from, from + length), at);
  }
}
