/**
 * Server-sent events, pushed as they come. A client that does not read is given up: what it has not read lies in
 * memory. While nothing is there to say, a comment keeps the connection from being taken for dead.
 */

export interface StreamLimits {
  /** A comment after so long without an event. Default 10 s. */
  quietMs?: number;
  /** Bytes that may lie unread for any time, and how long more may. Default 1 MiB, 60 s. */
  unreadBytes?: number;
  stalledMs?: number;
}

const QUIET_MS = 10_000;
const UNREAD_BYTES = 1 << 20;
const STALLED_MS = 60_000;

export class EventStream {
  readonly response: Response;
  /** Fires when the client has gone away, or does not read. */
  readonly signal: AbortSignal;
  readonly #encoder = new TextEncoder();
  readonly #controller = new AbortController();
  readonly #timer: NodeJS.Timeout;
  readonly #quietMs: number;
  readonly #stalledMs: number;
  #stream!: ReadableStreamDefaultController<Uint8Array>;
  #isOver = false;
  #lastEvent = performance.now();
  #stalledSince: number | undefined;

  constructor({ quietMs = QUIET_MS, unreadBytes = UNREAD_BYTES, stalledMs = STALLED_MS }: StreamLimits = {}) {
    this.#quietMs = quietMs;
    this.#stalledMs = stalledMs;
    this.signal = this.#controller.signal;
    const body = new ReadableStream<Uint8Array>(
      {
        start: (stream) => {
          this.#stream = stream;
        },
        cancel: () => this.#giveUp(),
      },
      new ByteLengthQueuingStrategy({ highWaterMark: unreadBytes }),
    );
    this.#timer = setInterval(() => this.#look(), Math.min(1000, quietMs, stalledMs));
    this.#timer.unref();
    this.response = new Response(body, {
      headers: {
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-cache",
        "x-accel-buffering": "no",
      },
    });
  }

  /** The data of an event, as text without line feeds. */
  send(data: string): void {
    this.#write(`data: ${data}\n\n`);
  }

  end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#stream.close(); // what lies unread can still be read
  }

  #write(text: string): void {
    if (this.#isOver) return;
    this.#lastEvent = performance.now();
    this.#stream.enqueue(this.#encoder.encode(text));
  }

  #look(): void {
    const now = performance.now();
    const room = this.#stream.desiredSize ?? 0;
    if (this.#isOver && room === 0) {
      clearInterval(this.#timer); // closed, and read to its end
      return;
    }
    if (now - this.#lastEvent > this.#quietMs) this.#write(": still here\n\n");
    // An answer that is over and lies there holds the connection: somebody should read it.
    if (room > 0 && !this.#isOver) this.#stalledSince = undefined;
    else {
      this.#stalledSince ??= now;
      if (now - this.#stalledSince <= this.#stalledMs) return;
      const error = new Error("The client does not read");
      this.#giveUp();
      this.#stream.error(error);
    }
  }

  #giveUp(): void {
    this.#isOver = true;
    clearInterval(this.#timer);
    this.#controller.abort();
  }
}
