/** What the engine takes of node:crypto: SHA-256 of pieces, in hex. */
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";

export interface Hash {
  update(data: Uint8Array | string): Hash;
  digest(encoding: "hex"): string;
}

const encoder = new TextEncoder();

export function createHash(algorithm: string): Hash {
  if (algorithm !== "sha256") throw new RangeError(`Cannot hash by "${algorithm}", wanted "sha256"`);
  const state = sha256.create();
  const hash: Hash = {
    update: (data) => {
      state.update(typeof data === "string" ? encoder.encode(data) : data);
      return hash;
    },
    digest: () => bytesToHex(state.digest()),
  };
  return hash;
}
