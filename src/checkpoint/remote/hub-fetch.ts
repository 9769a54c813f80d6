/** A fetch() for the Hub's library: our connections and proxies, and tries again where that may help. */
import { comeBackLater, MOST_RETRIES, RemoteFault, remoteClient, shownUrl } from "./client.ts";
import { LONGEST_WAIT_MS, parseRetryAfter } from "./pace.ts";
import { header } from "./reply-headers.ts";
import { isStopped, lastingSignal, pause } from "./stoppable.ts";

const PASSING = new Set([408, 429, 500, 502, 503, 504]);
/** What may be asked twice without being done twice. */
const SAFE = new Set(["GET", "HEAD", "PUT"]);

export const hubFetch: typeof fetch = async (input, init = {}) => {
  const { fetch: undiciFetch } = await import("undici");
  const url = input instanceof Request ? input.url : String(input);
  const method = (init.method ?? "GET").toUpperCase();
  const { origin } = new URL(url);
  const { dispatcher, pace } = remoteClient();
  const signal = lastingSignal(init.signal ?? undefined);
  for (let tries = 0; ; tries++) {
    const isLast = tries >= MOST_RETRIES || !SAFE.has(method);
    try {
      await pace.turn(origin, signal);
      const options = { ...init, dispatcher: await dispatcher, ...(signal ? { signal } : {}) };
      const answer = await undiciFetch(url, options as Parameters<typeof undiciFetch>[1]);
      const headers = Object.fromEntries(answer.headers);
      pace.heed(origin, headers, answer.status);
      const wait = parseRetryAfter(header(headers, "retry-after"), Date.now());
      const isPassing = PASSING.has(answer.status);
      const isTooLong = isPassing && (wait ?? 0) > LONGEST_WAIT_MS;
      if (!isTooLong && (isLast || !isPassing)) return answer as unknown as Response;
      await answer.body?.cancel();
      if (isTooLong)
        throw comeBackLater(`Cannot ask ${shownUrl(url)}`, { status: answer.status, retryAfterMs: wait! });
      await pause(wait ?? backOff(tries), signal);
    } catch (error) {
      if (isLast || error instanceof RemoteFault || isStopped(signal) || isSilence(error)) throw error;
      await pause(backOff(tries), signal);
    }
  }
};

/** It has been waited for long enough. */
function isSilence(error: unknown): boolean {
  const { code } = ((error as Error | undefined)?.cause ?? {}) as NodeJS.ErrnoException;
  return code === "UND_ERR_HEADERS_TIMEOUT";
}

function backOff(tries: number): number {
  const said = Number(process.env.CHIMERA_RETRY_MS ?? "");
  return (said > 0 ? said : 500) * 2 ** Math.min(tries, 6) * (0.5 + Math.random() / 2);
}
