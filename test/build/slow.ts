/**
 * Preloaded into a process (and so into its workers): every small read and write takes some milliseconds
 * longer, so that signals land in the middle of a build. SLOW_MS says how many.
 */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { isMainThread } from "node:worker_threads";

if (!isMainThread) {
  const delayMs = Number(process.env.SLOW_MS ?? 1);
  const sleeper = new Int32Array(new SharedArrayBuffer(4));
  for (const name of ["readSync", "writeSync", "fsyncSync"] as const) {
    const original = fs[name] as (...args: unknown[]) => unknown;
    const slow = (...args: unknown[]) => {
      Atomics.wait(sleeper, 0, 0, delayMs);
      return original(...args);
    };
    Object.assign(fs, { [name]: slow });
  }
  syncBuiltinESMExports();
}
