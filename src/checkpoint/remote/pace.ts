/**
 * Within the limits that a server names: the Hub counts requests of five minutes and tells what is left in `RateLimit`
 * headers (`"resolvers";r=12;t=120`: twelve more in the next 120 s). What is left is spread over the time that is left.
 */
import type { ReplyHeaders } from "./client.ts";
import { pause } from "./client.ts";

/** While more are left nobody need wait. */
const PLENTY = 100;
const LONGEST_MS = 5 * 60_000;

export class Pace {
  /** By origin: when the next request may go, in milliseconds, and the time from one to the next. */
  readonly #turns = new Map<string, { next: number; step: number }>();

  /** Waits for the turn of a request to this origin. */
  async turn(origin: string, signal?: AbortSignal): Promise<void> {
    const turn = this.#turns.get(origin);
    if (!turn) return;
    const now = performance.now();
    const at = Math.max(now, turn.next);
    turn.next = at + turn.step;
    if (at > now) await pause(at - now, signal);
  }

  /** Learns from an answer. */
  heed(origin: string, headers: ReplyHeaders): void {
    const said = headers.ratelimit;
    const { left, seconds } = parseRateLimit(Array.isArray(said) ? said.join(",") : said) ?? {};
    if (left === undefined || seconds === undefined) return;
    if (left >= PLENTY) {
      this.#turns.delete(origin);
      return;
    }
    const ms = Math.min(LONGEST_MS, 1000 * seconds);
    const step = ms / (left + 1);
    const next = performance.now() + (left === 0 ? ms : 0);
    this.#turns.set(origin, { next: Math.max(next, this.#turns.get(origin)?.next ?? 0), step });
  }
}

/** The tightest of the limits that a header names; undefined for what is none. */
export function parseRateLimit(text: string | undefined): { left: number; seconds: number } | undefined {
  let tightest: { left: number; seconds: number } | undefined;
  for (const part of (text ?? "").split(",")) {
    const left = /(?:^|;)\s*r=(\d{1,9})(?:;|\s*$)/.exec(part)?.[1];
    const seconds = /(?:^|;)\s*t=(\d{1,9})(?:;|\s*$)/.exec(part)?.[1];
    if (left === undefined || seconds === undefined) continue;
    if (!tightest || Number(left) < tightest.left)
      tightest = { left: Number(left), seconds: Number(seconds) };
  }
  return tightest;
}

/** "120" or an HTTP date, in milliseconds from `now`, at most five minutes; undefined for anything else. */
export function parseRetryAfter(text: string | undefined, now: number): number | undefined {
  if (text === undefined) return undefined;
  if (/^\s*\d+(\.\d+)?\s*$/.test(text)) return Math.min(Number(text) * 1000, LONGEST_MS);
  if (!/[a-z]{3}.*\d:\d\d/i.test(text)) return undefined;
  const at = Date.parse(text);
  return Number.isNaN(at) ? undefined : Math.min(Math.max(0, at - now), LONGEST_MS);
}
