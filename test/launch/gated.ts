/**
 * Preloaded into a process (and so into its workers): workers read and write nothing as long as the file GATE is there, so
 * that a test can look at a build, and disturb it, at a moment that it knows.
 */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { isMainThread } from "node:worker_threads";

const { GATE } = process.env;
if (!isMainThread && GATE) {
  const sleeper = new Int32Array(new SharedArrayBuffer(4));
  for (const name of ["readSync", "writeSync", "fsyncSync"] as const) {
    const original = fs[name] as (...args: unknown[]) => unknown;
    const gated = (...args: unknown[]) => {
      while (fs.existsSync(GATE)) Atomics.wait(sleeper, 0, 0, 20);
      return original(...args);
    };
    Object.assign(fs, { [name]: gated });
  }
  syncBuiltinESMExports();
}
