/**
 * Asking again: exponential back-off with jitter, so that eight questions which a server turned away together do
 * not come back together; or after the time that the server itself names.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Interrupted } from "../base/errors.ts";
import { EndpointFault } from "./endpoint-fault.ts";

/** A server may ask for a pause of an hour; the question is then better asked by the next run. */
export const MAX_DELAY_MS = 60_000;

export interface RetryOptions {
  /** Tries behind the first. */
  retries: number;
  /** Of the first pause; each next one is twice as long. */
  delayMs: number;
  signal?: AbortSignal | undefined;
}

/** Calls `ask` until it succeeds, or fails for good. Throws its last EndpointFault, or Interrupted. */
export async function retrying<T>(
  ask: () => Promise<T>,
  { retries, delayMs, signal }: RetryOptions,
): Promise<{ value: T; attempts: number }> {
  for (let attempts = 1; ; attempts++) {
    if (signal?.aborted) throw new Interrupted("The request was stopped");
    try {
      return { value: await ask(), attempts };
    } catch (error) {
      if (!(error instanceof EndpointFault) || !error.isPassing || attempts > retries) throw error;
      await pause(error.retryAfterMs ?? backOff(attempts, delayMs), signal);
    }
  }
}

/** Between half and the whole of the base times two to the tries that failed before. */
function backOff(attempts: number, delayMs: number): number {
  return delayMs * 2 ** Math.min(attempts - 1, 16) * (0.5 + Math.random() / 2);
}

async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(Math.min(ms, MAX_DELAY_MS), undefined, signal ? { signal } : {});
  } catch {
    throw new Interrupted("The request was stopped");
  }
}

/** "120" or an HTTP date, in milliseconds from `now`; undefined for anything else. */
export function parseRetryAfter(text: string | undefined, now: number): number | undefined {
  if (text === undefined) return undefined;
  if (/^\s*\d+(\.\d+)?\s*$/.test(text)) return Math.min(Number(text) * 1000, MAX_DELAY_MS);
  // Date.parse() reads nearly anything as a date; one has letters and a time.
  if (!/[a-z]{3}.*\d:\d\d/i.test(text)) return undefined;
  const at = Date.parse(text);
  return Number.isNaN(at) ? undefined : Math.min(Math.max(0, at - now), MAX_DELAY_MS);
}
