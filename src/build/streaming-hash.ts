/**
 * SHA-256 of a file while it is written.
 *
 * Pieces in file order are hashed as they pass. Where scales come before their weights in the file (the
 * order that safetensors' own writer gives), they are known only later: hashing then stops at the first
 * hole and reads the rest back when the shard is complete, from the page cache as a rule.
 */
import { createHash } from "node:crypto";
import type { Sink } from "../checkpoint/source.ts";

const READ_BACK_BYTES = 4 << 20;

export class StreamingHash {
  readonly #hash = createHash("sha256");
  #position = 0;

  /** Takes a piece; ignored unless it follows what was hashed. */
  add(bytes: Uint8Array, offset: number): void {
    if (offset !== this.#position) return;
    this.#hash.update(bytes);
    this.#position += bytes.length;
  }

  /** Hashes what is still missing of the written file and returns the digest in hex. */
  async finish(sink: Pick<Sink, "read">, byteLength: number, checkpoint?: () => void): Promise<string> {
    const buffer = new Uint8Array(Math.min(READ_BACK_BYTES, byteLength - this.#position));
    while (this.#position < byteLength) {
      checkpoint?.();
      const piece = buffer.subarray(0, Math.min(buffer.length, byteLength - this.#position));
      await sink.read(piece, this.#position);
      this.#hash.update(piece);
      this.#position += piece.length;
    }
    return this.#hash.digest("hex");
  }
}
