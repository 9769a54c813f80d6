/**
 * Bytes of a tensor of the view, as safetensors would hold them, from any byte on: what lies so in the file is
 * read as it is, the rest is decoded by whole blocks on the way. Memory is a few MB whatever the tensor's size.
 */
import type { Source } from "../checkpoint/source.ts";
import { type DecodedType, decodeBlocks, encodeBlocks, requireDecoded } from "./blocks.ts";
import type { GgufTensor } from "./model.ts";
import { blockOf } from "./types.ts";
import type { ViewPart, ViewTensor } from "./view.ts";

/** Elements that are decoded together, about. */
const STEP = 1 << 19;

/** Bytes of the files that bytes `from` to `to` of a tensor are made from: whole blocks. */
export function* storedRanges(
  { dtype, parts }: ViewTensor,
  { from, to }: { from: number; to: number },
): Generator<{ file: string; offset: number; byteLength: number }> {
  const size = dtype === "F32" ? 4 : 2;
  let start = 0; // of the part, in bytes of the tensor
  for (const { tensor, from: skipped, count, transposed } of parts) {
    const end = start + count * size;
    if (start < to && end > from) {
      // What is turned round is read whole.
      const first = transposed ? 0 : Math.floor((Math.max(from, start) - start) / size);
      const last = transposed ? count : Math.ceil((Math.min(to, end) - start) / size);
      const { elements, bytes } = blockOf(tensor.type);
      const firstBlock = Math.floor((skipped + first) / elements);
      const numBlocks = Math.ceil((skipped + last) / elements) - firstBlock;
      yield { file: tensor.file, offset: tensor.offset + firstBlock * bytes, byteLength: numBlocks * bytes };
    }
    start = end;
  }
}

export type SourceOf = (file: string) => Promise<Source>;

/** Reads tensors of one model; keeps the last part that was turned round. */
export class ViewReader {
  readonly #sourceOf: SourceOf;
  #turned: { part: ViewPart; bytes: Uint8Array } | undefined;

  constructor(sourceOf: SourceOf) {
    this.#sourceOf = sourceOf;
  }

  /** Fills `into` with the bytes of a tensor from `offset` on. */
  async read(tensor: ViewTensor, into: Uint8Array, offset: number): Promise<void> {
    const size = tensor.dtype === "F32" ? 4 : 2;
    let start = 0; // of the part, in bytes of the tensor
    for (const part of tensor.parts) {
      const end = start + part.count * size;
      const [from, to] = [Math.max(start, offset), Math.min(end, offset + into.length)];
      if (from < to) {
        const range = { from: from - start, to: to - start };
        await this.#readPart(part, tensor.dtype, range, into.subarray(from - offset, to - offset));
      }
      start = end;
    }
  }

  async #readPart(
    part: ViewPart,
    dtype: ViewTensor["dtype"],
    { from, to }: { from: number; to: number },
    into: Uint8Array,
  ): Promise<void> {
    const { tensor, transposed } = part;
    const size = dtype === "F32" ? 4 : 2;
    if (transposed) {
      if (this.#turned?.part !== part) this.#turned = { part, bytes: await this.#turn(part, dtype) };
      into.set(this.#turned.bytes.subarray(from, to));
    } else if (tensor.type === dtype) {
      const source = await this.#sourceOf(tensor.file);
      await source.read(into, tensor.offset + part.from * size + from);
    } else {
      // The elements that these bytes belong to, some at a time.
      const last = Math.ceil(to / size);
      for (let first = Math.floor(from / size); first < last; first += STEP) {
        const until = Math.min(last, first + STEP);
        const bytes = await this.#decoded(tensor, dtype, { from: part.from + first, to: part.from + until });
        const [begin, end] = [Math.max(from, first * size), Math.min(to, until * size)];
        into.set(bytes.subarray(begin - first * size, end - first * size), begin - from);
      }
    }
  }

  async #turn(
    { tensor, from, count, transposed }: ViewPart,
    dtype: ViewTensor["dtype"],
  ): Promise<Uint8Array> {
    const { rows, cols } = transposed!;
    const bytes = await this.#decoded(tensor, dtype, { from, to: from + count });
    const [values, out] =
      dtype === "F32"
        ? [new Uint32Array(bytes.buffer, bytes.byteOffset, count), new Uint32Array(count)]
        : [new Uint16Array(bytes.buffer, bytes.byteOffset, count), new Uint16Array(count)];
    for (let row = 0; row < rows; row++)
      for (let col = 0; col < cols; col++) out[col * rows + row] = values[row * cols + col]!;
    return new Uint8Array(out.buffer);
  }

  /** Elements in the dtype of the view. */
  async #decoded(
    tensor: GgufTensor,
    dtype: ViewTensor["dtype"],
    { from, to }: { from: number; to: number },
  ): Promise<Uint8Array> {
    const type: DecodedType = requireDecoded(tensor.type, tensor);
    const { elements, bytes } = blockOf(type);
    const firstBlock = Math.floor(from / elements);
    const stored = new Uint8Array((Math.ceil(to / elements) - firstBlock) * bytes);
    await (await this.#sourceOf(tensor.file)).read(stored, tensor.offset + firstBlock * bytes);
    if (type === dtype) return stored;
    const values = decodeBlocks(type, stored).slice(from - firstBlock * elements, to - firstBlock * elements);
    return encodeBlocks(dtype, values);
  }
}
