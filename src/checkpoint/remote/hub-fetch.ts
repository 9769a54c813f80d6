/** A fetch() for the Hub's library: our connections and proxies, and tries again where that may help. */
import { header, MOST_RETRIES, pause, remoteClient } from "./client.ts";
import { parseRetryAfter } from "./pace.ts";

const PASSING = new Set([408, 429, 500, 502, 503, 504]);
/** What may be asked twice without being done twice. */
const SAFE = new Set(["GET", "HEAD", "PUT"]);

export const hubFetch: typeof fetch = async (input, init = {}) => {
  const { fetch: undiciFetch } = await import("undici");
  const url = input instanceof Request ? input.url : String(input);
  const method = (init.method ?? "GET").toUpperCase();
  for (let tries = 0; ; tries++) {
    const isLast = tries >= MOST_RETRIES || !SAFE.has(method);
    try {
      const options = { ...init, dispatcher: await remoteClient().dispatcher } as Parameters<
        typeof undiciFetch
      >[1];
      const answer = await undiciFetch(url, options);
      if (isLast || !PASSING.has(answer.status)) return answer as unknown as Response;
      await answer.body?.cancel();
      const said = header(Object.fromEntries(answer.headers), "retry-after");
      await pause(parseRetryAfter(said, Date.now()) ?? backOff(tries), init.signal ?? undefined);
    } catch (error) {
      if (isLast || init.signal?.aborted) throw error;
      await pause(backOff(tries), init.signal ?? undefined);
    }
  }
};

function backOff(tries: number): number {
  const said = Number(process.env.CHIMERA_RETRY_MS ?? "");
  return (said > 0 ? said : 500) * 2 ** Math.min(tries, 6) * (0.5 + Math.random() / 2);
}
