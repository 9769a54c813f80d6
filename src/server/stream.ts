/**
 * Server-sent events, pushed as they come. A client that does not read is given up: what it has not read lies in
 * memory. While nothing is there to say, a comment keeps the connection from being taken for dead.
 */

/** A comment after so long without an event. */
const QUIET_MS = 10_000;
/** Bytes that may lie unread, and how long. */
const MOST_UNREAD = 1 << 20;
const STALLED_MS = 60_000;

export class EventStream {
  readonly response: Response;
  /** Fires when the client has gone away, or does not read. */
  readonly signal: AbortSignal;
  readonly #encoder = new TextEncoder();
  readonly #controller = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #stream!: ReadableStreamDefaultController<Uint8Array>;
  #isOver = false;
  #lastEvent = performance.now();
  #stalledSince: number | undefined;

  constructor(headers: Record<string, string> = {}) {
    this.signal = this.#controller.signal;
    const body = new ReadableStream<Uint8Array>(
      {
        start: (stream) => {
          this.#stream = stream;
        },
        cancel: () => this.#giveUp(),
      },
      new ByteLengthQueuingStrategy({ highWaterMark: MOST_UNREAD }),
    );
    this.#timer = setInterval(() => this.#look(), 1000);
    this.#timer.unref();
    this.response = new Response(body, {
      headers: {
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-cache",
        "x-accel-buffering": "no",
        ...headers,
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
    clearInterval(this.#timer);
    this.#stream.close();
  }

  #write(text: string): void {
    if (this.#isOver) return;
    this.#lastEvent = performance.now();
    this.#stream.enqueue(this.#encoder.encode(text));
  }

  #look(): void {
    const now = performance.now();
    if (now - this.#lastEvent > QUIET_MS) this.#write(": still here\n\n");
    if ((this.#stream.desiredSize ?? 0) > 0) this.#stalledSince = undefined;
    else {
      this.#stalledSince ??= now;
      if (now - this.#stalledSince > STALLED_MS) {
        const error = new Error("The client does not read");
        this.#giveUp();
        this.#stream.error(error);
      }
    }
  }

  #giveUp(): void {
    this.#isOver = true;
    clearInterval(this.#timer);
    this.#controller.abort();
  }
}
