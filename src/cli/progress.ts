/**
 * Progress on stderr: a bar where a person looks, a line now and then in a log, NDJSON for programs.
 *
 * The rate is that of the last seconds, so that it follows a disk that slows down; what a resumed build
 * found done does not count as speed.
 */
import { formatBytes, formatDuration, formatInteger } from "../base/format.ts";
import { columns, note, paintError } from "./terminal.ts";

export const PROGRESS_MODES = ["auto", "bar", "plain", "json", "none"] as const;
export type ProgressMode = (typeof PROGRESS_MODES)[number];

export interface ProgressState {
  /** Bytes, tokens or answers. */
  done: number;
  total: number;
  /** What else is worth a word: "shard 3 of 163". */
  detail?: string;
}

export interface Progress {
  update(state: ProgressState): void;
  /** An event of the engine, for mode "json". */
  event(event: object): void;
  /** A line that stays, above the bar. */
  line(text: string): void;
  /** Ends the bar's line. */
  end(): void;
  /** Takes the bar away. */
  erase(): void;
}

export interface ProgressOptions {
  /** What is counted. Default: bytes. */
  unit?: Unit;
  /** Milliseconds before a bar is drawn, for what is mostly over by then. Default 0. */
  delay?: number;
}

type Unit = "bytes" | "tokens" | "answers";

const BAR_INTERVAL_MS = 100;
const PLAIN_INTERVAL_MS = 5000;
const WINDOW_MS = 5000;

export function createProgress(mode: ProgressMode, label: string, options: ProgressOptions = {}): Progress {
  const kind =
    mode === "auto" ? (process.stderr.isTTY && process.env.TERM !== "dumb" ? "bar" : "plain") : mode;
  if (kind === "none") return { update() {}, event() {}, line() {}, end() {}, erase() {} };
  if (kind === "json") {
    const write = (event: object) => note(JSON.stringify(event));
    return { update() {}, event: write, line() {}, end() {}, erase() {} };
  }
  return new Meter(kind === "bar", label, options);
}

class Meter implements Progress {
  readonly #bar: boolean;
  readonly #label: string;
  readonly #unit: Unit;
  readonly #samples: { at: number; done: number }[] = [];
  #drawnAt = 0;
  #last: ProgressState | undefined;
  #dirty = false;

  constructor(bar: boolean, label: string, { unit = "bytes", delay = 0 }: ProgressOptions) {
    this.#bar = bar;
    this.#label = label;
    this.#unit = unit;
    // The first plain line comes after two seconds: what is quicker needs none.
    this.#drawnAt =
      performance.now() + (bar ? delay - BAR_INTERVAL_MS : Math.max(2000, delay) - PLAIN_INTERVAL_MS);
  }

  update(state: ProgressState): void {
    const now = performance.now();
    // Less than before: another run has begun, with a rate of its own.
    if (this.#last && state.done < this.#last.done) this.#samples.length = 0;
    this.#last = state;
    this.#samples.push({ at: now, done: state.done });
    while (this.#samples.length > 2 && now - this.#samples[0]!.at > WINDOW_MS) this.#samples.shift();
    const interval = this.#bar ? BAR_INTERVAL_MS : PLAIN_INTERVAL_MS;
    if (now - this.#drawnAt < interval) return;
    this.#drawnAt = now;
    this.#draw(state);
  }

  event(): void {}

  line(text: string): void {
    if (this.#dirty) process.stderr.write("\r\x1b[K");
    note(text);
    if (this.#dirty && this.#last) this.#draw(this.#last);
  }

  end(): void {
    if (!this.#dirty) return;
    if (this.#last) this.#draw(this.#last);
    process.stderr.write("\n");
    this.#dirty = false;
  }

  erase(): void {
    if (this.#dirty) process.stderr.write("\r\x1b[K");
    this.#dirty = false;
  }

  #draw(state: ProgressState): void {
    const first = this.#samples[0]!;
    const last = this.#samples.at(-1)!;
    const rate = last.at > first.at ? ((last.done - first.done) / (last.at - first.at)) * 1000 : 0;
    if (!this.#bar) {
      const { percent, facts } = describe(state, rate, this.#unit);
      note([`${this.#label}: ${percent.trim()}`, ...facts].join(" · "));
      return;
    }
    process.stderr.write(
      `\r\x1b[K${barLine(this.#label, state, { rate, columns: columns(), unit: this.#unit })}`,
    );
    this.#dirty = true;
  }
}

function describe(
  { done, total, detail }: ProgressState,
  rate: number,
  unit: Unit,
): { percent: string; facts: string[] } {
  const share = total > 0 ? Math.min(1, done / total) : 1;
  const left = rate > 0 ? formatDuration((total - done) / rate) : "–";
  const amounts =
    unit !== "bytes"
      ? [`${formatInteger(done)} of ${formatInteger(total)} ${unit}`, `${rate.toFixed(1)} ${unit}/s`]
      : [`${formatBytes(done)} of ${formatBytes(total)}`, `${(rate / 1e9).toFixed(rate < 1e9 ? 3 : 2)} GB/s`];
  return {
    percent: `${Math.floor(share * 100)} %`.padStart(5),
    facts: [...amounts, `${left} left`, ...(detail ? [detail] : [])],
  };
}

const MOST_BAR = 30;
const LEAST_BAR = 10;

/**
 * A bar with as many facts as fit, the first to go being the detail. Narrower than the terminal: a line
 * that wraps cannot be drawn over, and leaves a copy of itself ten times a second.
 */
export function barLine(
  label: string,
  state: ProgressState,
  { rate, columns, unit = "bytes" }: { rate: number; columns: number; unit?: Unit },
): string {
  const { percent, facts } = describe(state, rate, unit);
  const [bytes, speed, left] = facts as [string, string, string];
  const choices = [facts, [bytes, speed, left], [speed, left], [left]].map((some) => some.join(" · "));
  const roomBeside = (text: string) => columns - 1 - `${label}  ${percent} ${text}`.length;
  const text = choices.find((choice) => roomBeside(choice) >= LEAST_BAR) ?? choices.at(-1)!;
  const room = Math.max(0, Math.min(MOST_BAR, roomBeside(text)));
  const share = state.total > 0 ? Math.min(1, state.done / state.total) : 1;
  const filled = Math.round(share * room);
  const bar = paintError("cyan", "█".repeat(filled)) + paintError("dim", "░".repeat(room - filled));
  return `${label} ${bar} ${percent} ${text}`;
}
