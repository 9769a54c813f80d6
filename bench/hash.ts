/** SHA-256, which every shard of a build goes through. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { printTable } from "./table.ts";
import { quickest } from "./timing.ts";

const BYTES = 128 << 20;

export function benchHash(): string {
  const abc = createHash("sha256").update("abc").digest("hex"); // FIPS 180-4, example 1
  assert.equal(abc, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  const bytes = new Uint8Array(BYTES);
  for (let i = 0; i < BYTES; i += 4096) bytes[i] = i >>> 12; // no page may be the shared one of zeros
  const rows = [64 << 10, 1 << 20, 4 << 20].map((piece) => {
    const seconds = quickest(1, () => {
      const hash = createHash("sha256");
      for (let at = 0; at < BYTES; at += piece) hash.update(bytes.subarray(at, at + piece));
      hash.digest();
    });
    const whole = 688_574_839_360 / (BYTES / seconds) / 60;
    return [
      `SHA-256, ${piece >> 10} kB at a time`,
      `${(BYTES / seconds / 1e9).toFixed(2)} GB/s`,
      `${whole.toFixed(1)} min`,
    ];
  });
  printTable("hash: one thread", ["what", "speed", "689 GB take"], rows);
  return "digest as in FIPS 180-4";
}
