/** Requests to an endpoint with retries; what goes wrong for good becomes an error that names the server. */
import { setMaxListeners } from "node:events";
import { EvaluationError } from "../base/errors.ts";
import { EndpointFault } from "./endpoint-fault.ts";
import type { HttpClient } from "./endpoint-http.ts";
import { retrying } from "./retry.ts";

export class Asker {
  readonly http: HttpClient;
  readonly #retry: { retries: number; delayMs: number };

  constructor(http: HttpClient, retry: { retries: number; delayMs: number }) {
    this.http = http;
    this.#retry = retry;
  }

  /** `what`: "ask x at", before the URL. Throws EvaluationError and Interrupted. */
  async ask<T>(
    what: string,
    once: () => Promise<T>,
    signal: AbortSignal | undefined,
  ): Promise<{ value: T; attempts: number }> {
    // Each question that is on its way listens, and Node warns of more than ten.
    if (signal) setMaxListeners(0, signal);
    let attempts = 0;
    const counted = () => {
      attempts++;
      return once();
    };
    try {
      return await retrying(counted, { ...this.#retry, signal });
    } catch (error) {
      if (!(error instanceof EndpointFault)) throw error;
      const tries = attempts > 1 ? `, tried ${attempts} times` : "";
      const wanted = error.message.includes(", wanted ") ? "" : ", wanted an answer";
      const message = `Cannot ${what} "${this.http.url.shown}"${tries}: ${error.message}${wanted}`;
      const note = noteOf(error);
      throw new EvaluationError(error.code, message, note === undefined ? {} : { note });
    }
  }

  /** Throws EvaluationError "no-model" where there are none or several. */
  async onlyModel(signal: AbortSignal | undefined): Promise<string> {
    const get = () => this.http.json("/models", undefined, signal);
    const { value } = await this.ask("list the models of", get, signal);
    const { data } = (value ?? {}) as { data?: unknown };
    const listed = Array.isArray(data) ? data.map((entry: { id?: unknown } | null) => entry?.id) : [];
    const models = [...new Set(listed)].filter((id) => typeof id === "string" && id !== "") as string[];
    if (models.length === 1) return models[0]!;
    const shown = models.slice(0, 20).map((id) => `"${this.http.shown(id)}"`);
    const more = models.length > shown.length ? ` and ${models.length - shown.length} more` : "";
    const has = models.length === 0 ? "lists no model" : `has ${models.length}: ${shown.join(", ")}${more}`;
    const message = `Cannot choose a model of "${this.http.url.shown}": it ${has}, wanted one`;
    throw new EvaluationError("no-model", message, { note: "Name the model" });
  }
}

function noteOf({ code, status }: EndpointFault): string | undefined {
  switch (code) {
    case "not-authorised":
      return "Set CHIMERA_API_KEY; OPENAI_API_KEY, DEEPSEEK_API_KEY and OPENROUTER_API_KEY go to their own servers alone";
    case "refused":
      return status === 404 ? "The URL or the model's name may be wrong" : undefined;
    case "question-refused":
      return "The question may be too long for the model, or a setting of its task unknown to the server";
    case "unreachable":
      return "What is answered is kept; go on when the server is there again";
    case "bad-answer":
      return undefined;
    default:
      throw code satisfies never;
  }
}
