/** Bytes in memory as a source: for what a store makes itself. */
import { CheckpointError } from "../base/errors.ts";
import { printable } from "./shown.ts";
import type { Source } from "./source.ts";

export class BytesSource implements Source {
  readonly name: string;
  readonly byteLength: number;
  readonly identity: string;
  readonly alignment = 1;
  readonly #bytes: Uint8Array;

  /** `identity`: of what the bytes were made from. */
  constructor(name: string, bytes: Uint8Array, identity: string) {
    this.name = name;
    this.byteLength = bytes.length;
    this.identity = identity;
    this.#bytes = bytes;
  }

  async read(into: Uint8Array, offset: number): Promise<void> {
    const end = offset + into.length;
    if (end > this.byteLength) {
      const what = `it ends at byte ${this.byteLength}, wanted ${end - this.byteLength} more`;
      throw new CheckpointError("changed", `Cannot read "${printable(this.name)}": ${what}`);
    }
    into.set(this.#bytes.subarray(offset, end));
  }

  async checkUnchanged(): Promise<void> {}

  async close(): Promise<void> {}
}
