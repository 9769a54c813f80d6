/** Preloaded into a process: its worker threads die after DEATH_MS, without a word, as for want of memory. */
import { isMainThread } from "node:worker_threads";

if (!isMainThread) {
  const delayMs = Number(process.env.DEATH_MS ?? 50);
  setTimeout(() => process.exit(9), delayMs).unref();
  if (delayMs === 0) process.exit(9);
}
