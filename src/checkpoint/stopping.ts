/**
 * What ends requests that nobody handed a signal: listings and small files are asked for in many places, deep below those
 * who know that the work is to stop. A command and a worker set one signal for their thread; calls of a program, several
 * of which may be under way, have each its own.
 *
 * Work that was stopped tidies up: locks are released, uploads given up. That has a moment, for the server may be the
 * one that never answers.
 */
import { AsyncLocalStorage } from "node:async_hooks";

/** For all that is tidied after one stop. */
const TIDYING_MS = 1000;

const signals = new AsyncLocalStorage<AbortSignal>();
let ofThread: AbortSignal | undefined;
const moments = new WeakMap<AbortSignal, AbortSignal>();

/** The signal of the work that this is called from. */
export function workSignal(): AbortSignal | undefined {
  return signals.getStore() ?? ofThread;
}

/** Requests of this thread end with that signal, unless they belong to work that has its own. */
export function setThreadSignal(signal: AbortSignal | undefined): void {
  ofThread = signal;
}

/** Requests of this work end with that signal; undefined: with that of the work around it. */
export function underSignal<T>(signal: AbortSignal | undefined, work: () => T): T {
  // Local storage makes every promise of a process dearer: not where the thread has that signal anyway.
  return signal === undefined || signal === workSignal() ? work() : signals.run(signal, work);
}

/** Work that is done after a stop as well, as far as a moment is enough. */
export function tidying<T>(work: () => T): T {
  const signal = workSignal();
  if (!signal?.aborted) return work();
  let moment = moments.get(signal);
  if (!moment) {
    moment = AbortSignal.timeout(TIDYING_MS);
    moments.set(signal, moment);
    moments.set(moment, moment); // within it no new one begins
  }
  return signals.run(moment, work);
}
