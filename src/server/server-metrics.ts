/** What the server counts, and what it tells of its models when asked. */
import type { AnswerEnd } from "../runtime/batch-answer.ts";
import { type Counter, type Histogram, Metrics } from "./metrics.ts";
import type { Models } from "./models.ts";
import type { ServedModel } from "./served-model.ts";

const SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];
const TOKEN_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

export class ServerMetrics {
  readonly #metrics = new Metrics();
  readonly #requests: Counter;
  readonly #prompt: Counter;
  readonly #cached: Counter;
  readonly #generated: Counter;
  readonly #waited: Histogram;
  readonly #firstToken: Histogram;
  readonly #perToken: Histogram;

  constructor(models: Models) {
    const metrics = this.#metrics;
    this.#requests = metrics.counter(
      "chimera_requests_total",
      "Requests by route and status; 499: the client went away.",
    );
    this.#prompt = metrics.counter("chimera_prompt_tokens_total", "Tokens of prompts.");
    this.#cached = metrics.counter(
      "chimera_cached_tokens_total",
      "Tokens of prompts that were found in the cache.",
    );
    this.#generated = metrics.counter("chimera_generated_tokens_total", "Tokens that were generated.");
    this.#waited = metrics.histogram(
      "chimera_queue_seconds",
      "From a request until its prompt is computed.",
      SECONDS,
    );
    this.#firstToken = metrics.histogram(
      "chimera_first_token_seconds",
      "From a request until its first token.",
      SECONDS,
    );
    this.#perToken = metrics.histogram(
      "chimera_token_seconds",
      "Between two tokens of an answer, in the mean.",
      TOKEN_SECONDS,
    );
    const each = (read: (model: ServedModel) => number | undefined) =>
      function* () {
        for (const model of models.list()) {
          const value = read(model);
          if (value !== undefined) yield [{ model: model.source.id }, value] as const;
        }
      };
    metrics.gauge(
      "chimera_model_loaded",
      "1: the model is in memory.",
      each(({ loaded }) => (loaded ? 1 : 0)),
    );
    metrics.gauge(
      "chimera_model_bytes",
      "Memory of a loaded model, its cache included.",
      each(({ loaded }) => loaded?.bytes),
    );
    metrics.gauge(
      "chimera_answers_running",
      "Answers that are computed.",
      each(({ loaded }) => loaded?.batch.numRunning),
    );
    metrics.gauge(
      "chimera_answers_waiting",
      "Answers that wait for a place.",
      each(({ loaded }) => loaded?.batch.numWaiting),
    );
    metrics.gauge(
      "chimera_cache_pages",
      "Pages of the cache of latents, 64 tokens each.",
      each(({ loaded }) => loaded?.text.model.pages.total),
    );
    metrics.gauge(
      "chimera_cache_pages_free",
      "Of these, free.",
      each(({ loaded }) => loaded?.text.model.pages.free),
    );
    metrics.gauge(
      "chimera_cache_pages_kept",
      "Of these, kept for prompts that begin alike.",
      each(({ loaded }) => loaded?.text.model.pages.kept),
    );
    metrics.total(
      "chimera_expert_hits_total",
      "Experts that were in memory when they were wanted.",
      each(({ loaded }) => loaded?.text.model.expertUse()?.hits),
    );
    metrics.total(
      "chimera_expert_misses_total",
      "Experts that had to be read.",
      each(({ loaded }) => loaded?.text.model.expertUse()?.misses),
    );
  }

  request(route: string, status: number): void {
    this.#requests.add({ route, status: String(status) });
  }

  answer(
    model: string,
    { promptTokens, cachedTokens, tokens, waitedSeconds, firstTokenSeconds, seconds }: AnswerEnd,
  ): void {
    const labels = { model };
    this.#prompt.add(labels, promptTokens);
    this.#cached.add(labels, cachedTokens);
    this.#generated.add(labels, tokens);
    this.#waited.observe(labels, waitedSeconds);
    if (tokens > 0) this.#firstToken.observe(labels, firstTokenSeconds);
    if (tokens > 1) this.#perToken.observe(labels, (seconds - firstTokenSeconds) / (tokens - 1), tokens - 1);
  }

  text(): string {
    return this.#metrics.text();
  }
}
