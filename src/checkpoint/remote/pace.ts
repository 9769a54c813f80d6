/**
 * Within the limits that a server names: the Hub counts requests of five minutes and tells what is left in `RateLimit`
 * headers (`"resolvers";r=12;t=120`: twelve more in the next 120 s). What is left is spread over the time that is left,
 * and `Retry-After` holds everybody.
 *
 * A server counts what comes from a machine, whichever thread it was that asked: all threads of the process keep one
 * table, which new threads find in their environment data.
 */
import { createHash } from "node:crypto";
import { getEnvironmentData, setEnvironmentData } from "node:worker_threads";
import { header, type ReplyHeaders } from "./reply-headers.ts";
import { pause } from "./stoppable.ts";

/** While more are left nobody need wait. */
const PLENTY = 100;
/** Requests of a thread that may be under way, and whose answers nobody has seen: connections, and some more. */
const PLENTY_OF_A_THREAD = 16;
const MOST_PLENTY = 1000;
/** Of a wait; who wants longer is told of at once. */
export const LONGEST_WAIT_MS: number = 5 * 60_000;
/** A waiting request looks so often whether things have changed. */
const LOOK_MS = 1000;

const KEY = "chimera-pace";
/** A server takes four words: its name's hash, when the next request may go, the time between two, and who holds all. */
const WORDS = 4;
const SERVERS = 64;
const [NEXT, STEP, HOLD] = [1, 2, 3];

/** That of the process. */
function sharedTable(): SharedArrayBuffer {
  const known = getEnvironmentData(KEY);
  if (known instanceof SharedArrayBuffer) return known;
  const table = newPaceTable();
  setEnvironmentData(KEY, table);
  return table;
}

export function newPaceTable(): SharedArrayBuffer {
  return new SharedArrayBuffer(8 * (1 + WORDS * SERVERS)); // the first word counts threads
}

// When it is loaded: threads that are started from here on are to find it.
const table = sharedTable();

/** Microseconds of a clock that all threads have in common. */
function now(): bigint {
  return process.hrtime.bigint() / 1000n;
}

const micros = (ms: number) => BigInt(Math.round(ms * 1000));

export class Pace {
  readonly #words: BigInt64Array;

  constructor(words: SharedArrayBuffer = table) {
    this.#words = new BigInt64Array(words);
    Atomics.add(this.#words, 0, 1n);
  }

  /** Waits for the turn of a request to this origin. */
  async turn(origin: string, signal?: AbortSignal): Promise<void> {
    const server = this.#serverOf(origin);
    for (let at = this.#take(server); ; ) {
      const time = now();
      const hold = Atomics.load(this.#words, server + HOLD);
      if (hold <= time && (at <= time || Atomics.load(this.#words, server + STEP) === 0n)) return;
      const until = hold > at ? hold : at;
      await pause(Math.min(LOOK_MS, Math.ceil(Number(until - time) / 1000)), signal);
      if (at < hold) at = this.#take(server); // not all of those that were held at once
    }
  }

  /** The time of the next request, which is nobody else's. */
  #take(server: number): bigint {
    for (;;) {
      const next = Atomics.load(this.#words, server + NEXT);
      const step = Atomics.load(this.#words, server + STEP);
      const at = latest(now(), next, Atomics.load(this.#words, server + HOLD));
      if (step === 0n) return at;
      if (Atomics.compareExchange(this.#words, server + NEXT, next, at + step) === next) return at;
    }
  }

  /** Learns from an answer. */
  heed(origin: string, headers: ReplyHeaders, status = 200): void {
    const server = this.#serverOf(origin);
    const wait =
      status === 429 || status === 503 ? parseRetryAfter(header(headers, "retry-after"), Date.now()) : 0;
    if (wait !== undefined && wait > 0 && wait <= LONGEST_WAIT_MS)
      this.#raise(server + HOLD, now() + micros(wait));
    const said = headers.ratelimit;
    const { left, seconds } = parseRateLimit(Array.isArray(said) ? said.join(",") : said) ?? {};
    if (left === undefined || seconds === undefined) return;
    const threads = Number(Atomics.load(this.#words, 0)); // some have ended, of a process that lives long
    if (left >= Math.min(MOST_PLENTY, Math.max(PLENTY, PLENTY_OF_A_THREAD * threads))) {
      Atomics.store(this.#words, server + STEP, 0n);
      Atomics.store(this.#words, server + NEXT, 0n);
      return;
    }
    const ms = Math.min(LONGEST_WAIT_MS, 1000 * seconds);
    Atomics.store(this.#words, server + STEP, micros(ms / (left + 1)));
    this.#raise(server + NEXT, now() + micros(left === 0 ? ms : 0));
  }

  #raise(index: number, to: bigint): void {
    for (;;) {
      const was = Atomics.load(this.#words, index);
      if (was >= to || Atomics.compareExchange(this.#words, index, was, to) === was) return;
    }
  }

  /** Where the words of a server begin. Of more servers than there is room for some go by one pace. */
  #serverOf(origin: string): number {
    const hash = createHash("sha256").update(origin).digest().readBigInt64LE() | 1n;
    const first = Number(BigInt.asUintN(32, hash) % BigInt(SERVERS));
    for (let i = 0; i < SERVERS; i++) {
      const at = 1 + WORDS * ((first + i) % SERVERS);
      const found = Atomics.compareExchange(this.#words, at, 0n, hash);
      if (found === 0n || found === hash) return at;
    }
    return 1 + WORDS * first;
  }
}

function latest(...times: bigint[]): bigint {
  return times.reduce((a, b) => (a > b ? a : b));
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

/** "120" or an HTTP date, in milliseconds from `now`, however many; undefined for anything else. */
export function parseRetryAfter(text: string | undefined, now: number): number | undefined {
  if (text === undefined) return undefined;
  if (/^\s*\d+(\.\d+)?\s*$/.test(text)) return Math.min(Number(text) * 1000, Number.MAX_SAFE_INTEGER);
  if (!/[a-z]{3}.*\d:\d\d/i.test(text)) return undefined;
  const at = Date.parse(text);
  return Number.isNaN(at) ? undefined : Math.max(0, at - now);
}
