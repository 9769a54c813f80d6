/** Bodies of answers: one that trickles is given up, and one that nobody wants costs no connection where it is short. */
import type { Dispatcher } from "undici";
import { RemoteFault, shownUrl } from "./client.ts";

type Body = Dispatcher.ResponseData["body"];
type Flow = AsyncIterable<Uint8Array> & { destroy(error?: Error): unknown };

/** Of a server that still counts as one, in the time after which silence is an end. */
const LEAST_BYTES = 1024;
/** Read to its end, so that the connection can be used again; a longer one is cut off with its connection. */
const SHORT = 64 << 10;
const DROP_MS = 1000;

/** The body, as long as it comes at more than a trickle: a byte a second would keep a reader for ever. */
export async function* flowing(
  body: Flow,
  { url, silenceMs }: { url: string; silenceMs: number },
): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  const timer = setInterval(() => {
    if (bytes < LEAST_BYTES) {
      const what = `only ${bytes} bytes came in ${silenceMs / 1000} s`;
      body.destroy(
        new RemoteFault("unreachable", `Cannot read ${shownUrl(url)}: ${what}`, {
          isPassing: true,
          retries: 1,
          note: "Run the same command again when the line is better: what is complete is kept",
        }),
      );
    }
    bytes = 0;
  }, silenceMs);
  try {
    for await (const part of body) {
      bytes += part.length;
      yield part;
    }
  } finally {
    clearInterval(timer);
  }
}

/** What is left of a body is not wanted. `length`: what it was announced to hold. */
export function drop(body: Body, length: number): void {
  if (length > SHORT) body.destroy();
  else body.dump({ limit: SHORT, signal: AbortSignal.timeout(DROP_MS) }).catch(() => {});
}
