/**
 * Log-likelihoods from a server: it echoes a prompt with the log-probability of each of its tokens, of which
 * those of the continuation are summed. A token counts to the continuation where it ends in it.
 */
import { EvaluationError } from "../base/errors.ts";
import { EndpointFault } from "./endpoint-fault.ts";
import type { HttpClient } from "./endpoint-http.ts";
import type { Likelihood } from "./target.ts";

interface EchoedTokens {
  tokens: string[];
  token_logprobs: (number | null)[];
  /** Where each token begins, in characters (code points). */
  text_offset: number[];
}

const REFUSED = new Set([400, 404, 405, 422, 501]);

export class EchoScorer {
  readonly #http: HttpClient;
  readonly #model: string;
  /** Some servers want to generate at least one token. */
  #maxTokens: 0 | 1 = 0;

  constructor(http: HttpClient, model: string) {
    this.#http = http;
    this.#model = model;
  }

  /** Throws EvaluationError "no-likelihoods", EndpointFault and Interrupted. */
  async score(
    { context, continuation }: { context: string; continuation: string },
    signal: AbortSignal | undefined,
  ): Promise<Likelihood> {
    if (continuation === "") return { logLikelihood: 0, tokens: 0 };
    const echoed = await this.#echo(context + continuation, signal);
    return sumContinuation(echoed, { context, continuation, fail: (what) => this.#unable(what) });
  }

  async #echo(prompt: string, signal: AbortSignal | undefined): Promise<EchoedTokens> {
    const asked = this.#maxTokens;
    const body = { model: this.#model, prompt, max_tokens: asked, echo: true, logprobs: 1, temperature: 0 };
    let value: unknown;
    try {
      value = await this.#http.json("/completions", body, signal);
    } catch (error) {
      if (!(error instanceof EndpointFault) || !REFUSED.has(error.status ?? 0)) throw error;
      if (asked === 1) throw this.#unable(error.message);
      this.#maxTokens = 1;
      return await this.#echo(prompt, signal);
    }
    const choice = (value as { choices?: ({ logprobs?: unknown } | null)[] } | null)?.choices?.[0];
    if (!choice) throw new EndpointFault("bad-answer", "its answer has no choices, wanted one");
    const echoed = echoedTokens(choice.logprobs, prompt);
    if (!echoed) throw this.#unable("its answer has no token_logprobs with their places");
    return echoed;
  }

  #unable(what: string): EvaluationError {
    const message = `Cannot ask "${this.#http.shown(this.#model)}" for likelihoods at "${this.#http.url.shown}": ${what}, wanted an echo with logprobs`;
    const note =
      'Few servers tell likelihoods; a task of choices can be scored with "method: letter" instead';
    return new EvaluationError("no-likelihoods", message, { note });
  }
}

/** Sums what belongs to the continuation; `fail` makes the error of what does not fit. */
export function sumContinuation(
  { tokens, token_logprobs: logprobs, text_offset: offsets }: EchoedTokens,
  {
    context,
    continuation,
    fail,
  }: { context: string; continuation: string; fail: (what: string) => EvaluationError },
): Likelihood {
  // A first token that the prompt does not begin with is the server's own, and moves all others.
  const first = tokens[0] ?? "";
  const isOwn = tokens.length > 1 && logprobs[0] === null && !`${context}${continuation}`.startsWith(first);
  const shift = isOwn && offsets[1] === length(first) ? length(first) : 0;
  const from = shift + length(context);
  const to = from + length(continuation);
  let [sum, numTokens, covered] = [0, 0, 0];
  for (const [i, start] of offsets.entries()) {
    const end = offsets[i + 1] ?? start + length(tokens[i]!);
    covered = Math.max(covered, end);
    // Behind the prompt stands what was generated.
    if (start >= to || end <= from) continue;
    const logprob = logprobs[i];
    if (typeof logprob !== "number") throw fail(`it tells nothing of token ${i} of the prompt`);
    sum += logprob;
    numTokens++;
  }
  if (covered < to || numTokens === 0) throw fail("it does not echo the whole prompt");
  return { logLikelihood: sum, tokens: numTokens };
}

/** What a server tells of the tokens, where it tells enough. Places that it leaves out follow from the texts. */
function echoedTokens(value: unknown, prompt: string): EchoedTokens | undefined {
  const { tokens, token_logprobs: logprobs, text_offset: told } = (value ?? {}) as Partial<EchoedTokens>;
  if (!Array.isArray(tokens) || !Array.isArray(logprobs) || tokens.length !== logprobs.length)
    return undefined;
  if (!tokens.every((token) => typeof token === "string")) return undefined;
  const isPlace = (offset: unknown) => Number.isSafeInteger(offset) && (offset as number) >= 0;
  if (Array.isArray(told) && told.length === tokens.length && told.every(isPlace))
    return { tokens, token_logprobs: logprobs, text_offset: told };
  if (!tokens.join("").includes(prompt)) return undefined;
  let end = 0;
  const offsets = tokens.map((token) => {
    end += length(token);
    return end - length(token);
  });
  return { tokens, token_logprobs: logprobs, text_offset: offsets };
}

/** In code points, as servers count. */
function length(text: string): number {
  return Array.from(text).length;
}
