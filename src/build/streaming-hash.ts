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
const PAGE = 65536;

export class StreamingHash {
  readonly #hash = createHash("sha256");
  #position = 0;

  /** Takes a piece; ignored unless it follows what was hashed. */
  add(bytes: Uint8Array, offset: number): void {
    if (offset !== this.#position) return;
    this.#hash.update(bytes);
    this.#position += bytes.length;
  }

  /**
   * Hashes what is still missing of the written file and returns the digest in hex. One piece is read while another is
   * hashed; they begin and end where a disk that is read past the system's cache wants it.
   */
  async finish(sink: Pick<Sink, "read">, byteLength: number, checkpoint?: () => void): Promise<string> {
    if (this.#position === byteLength) return this.#hash.digest("hex");
    const memory = new WebAssembly.Memory({ initial: (2 * READ_BACK_BYTES) / PAGE });
    let slot = 0;
    const read = async (from: number): Promise<Uint8Array> => {
      const to = Math.min(byteLength, (Math.floor(from / READ_BACK_BYTES) + 1) * READ_BACK_BYTES);
      const piece = new Uint8Array(memory.buffer, slot * READ_BACK_BYTES, to - from);
      slot = 1 - slot;
      await sink.read(piece, from);
      return piece;
    };
    let next = read(this.#position);
    while (this.#position < byteLength) {
      const piece = await next;
      const end = this.#position + piece.length;
      checkpoint?.();
      if (end < byteLength) {
        next = read(end);
        next.catch(() => {}); // heard of in its turn
      }
      this.#hash.update(piece);
      this.#position = end;
    }
    return this.#hash.digest("hex");
  }
}
