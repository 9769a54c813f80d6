/** Waiting that ends when it is no longer wanted: by a caller's signal, or by that of the work. */
import { setMaxListeners } from "node:events";
import { Interrupted } from "../../base/errors.ts";
import { workSignal } from "../stopping.ts";

/** Node warns of more than ten; with "any number" fetch() fails on Node 20. */
const MOST_LISTENERS = 10_000;

export interface LinkedSignal {
  signal: AbortSignal | undefined;
  /** Signals live long, requests do not: they must not be kept by them. */
  release(): void;
}

/** Fires when one of them does, or that of the work. */
export function linkedSignal(...some: (AbortSignal | undefined)[]): LinkedSignal {
  const sources = [...new Set([...some, workSignal()])].filter((signal) => signal !== undefined);
  if (sources.length > 0) setMaxListeners(MOST_LISTENERS, ...sources);
  if (sources.length <= 1) return { signal: sources[0], release: () => {} };
  const linked = new AbortController();
  setMaxListeners(MOST_LISTENERS, linked.signal);
  const stop = () => linked.abort();
  for (const source of sources) {
    if (source.aborted) stop();
    source.addEventListener("abort", stop);
  }
  return {
    signal: linked.signal,
    release: () => {
      for (const source of sources) source.removeEventListener("abort", stop);
    },
  };
}

/** The same for work whose end nobody sees: bodies that a library reads. */
export function lastingSignal(...some: (AbortSignal | undefined)[]): AbortSignal | undefined {
  const sources = [...some, workSignal()].filter((signal) => signal !== undefined);
  if (sources.length > 1 && typeof AbortSignal.any === "function") return AbortSignal.any(sources);
  return linkedSignal(...sources).signal; // Node before 20.3
}

export function isStopped(signal?: AbortSignal): boolean {
  return signal?.aborted === true || workSignal()?.aborted === true;
}

export function stopped(): Interrupted {
  return new Interrupted("The request was stopped");
}

export async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  const link = linkedSignal(signal);
  try {
    if (link.signal?.aborted) throw stopped();
    await new Promise<void>((resolve, reject) => {
      const stop = () => {
        clearTimeout(timer);
        reject(stopped());
      };
      const timer = setTimeout(() => {
        link.signal?.removeEventListener("abort", stop);
        resolve();
      }, ms);
      link.signal?.addEventListener("abort", stop, { once: true });
    });
  } finally {
    link.release();
  }
}
