/**
 * Preloaded into a process (and so into its workers), so that a test can look at it, and disturb it, at a moment that it
 * knows: workers read and write nothing as long as the file GATE is there, answers are not kept as long as ANSWERS_GATE is.
 * HOST_NAME is what it takes its machine to be called: another one for another node of a cluster.
 */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import os from "node:os";
import { isMainThread } from "node:worker_threads";

const { GATE, ANSWERS_GATE, HOST_NAME } = process.env;
const sleeper = new Int32Array(new SharedArrayBuffer(4));

function wait(gate: string): void {
  while (fs.existsSync(gate)) Atomics.wait(sleeper, 0, 0, 20);
}

function gated(
  name: "readSync" | "writeSync" | "fsyncSync",
  isHeld: (fd: number) => boolean,
  gate: string,
): void {
  const original = fs[name] as (...args: unknown[]) => unknown;
  const held = (...args: unknown[]) => {
    if (isHeld(args[0] as number)) wait(gate);
    return original(...args);
  };
  Object.assign(fs, { [name]: held });
}

if (HOST_NAME) os.hostname = () => HOST_NAME;
if (!isMainThread && GATE)
  for (const name of ["readSync", "writeSync", "fsyncSync"] as const) gated(name, () => true, GATE);
if (isMainThread && ANSWERS_GATE) {
  const isOfAnswers = (fd: number) => fs.readlinkSync(`/proc/self/fd/${fd}`).endsWith(".ndjson");
  gated("writeSync", isOfAnswers, ANSWERS_GATE);
}
syncBuiltinESMExports();
