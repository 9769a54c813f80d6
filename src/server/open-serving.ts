/** A server's parts put together: models, metrics, routes. For cli/, for tests, and for programs that have sockets. */
import type { Hono } from "hono";
import type { ReasoningFormat } from "../text/output-parser.ts";
import { Access, type AccessOptions } from "./access.ts";
import { createApp, type RouteEnvironment } from "./app.ts";
import { Models, type ModelsOptions } from "./models.ts";
import type { ServedSource } from "./served-model.ts";
import { ServerMetrics } from "./server-metrics.ts";
import type { ServerLog, Serving } from "./serving.ts";

export interface ServeOptions {
  access?: AccessOptions;
  models?: ModelsOptions;
  /** Default: nothing is logged. */
  log?: ServerLog;
  /** Default: "deepseek". */
  reasoningFormat?: ReasoningFormat;
  /** Seconds that a request may take. Default 600. */
  timeoutSeconds?: number;
  /** Tokens of an answer at the most. */
  maxTokens?: number | undefined;
  /** Prompts go to the log too. */
  logsTexts?: boolean;
  /** Fires when the server is going down. */
  closing?: AbortSignal;
}

export interface OpenServing {
  app: Hono<RouteEnvironment>;
  serving: Serving;
}

const SILENT: ServerLog = { info: () => {}, error: () => {} };

export function openServing(sources: readonly ServedSource[], options: ServeOptions = {}): OpenServing {
  const models = new Models(sources, options.models);
  const serving: Serving = {
    models,
    metrics: new ServerMetrics(models),
    log: options.log ?? SILENT,
    reasoningFormat: options.reasoningFormat ?? "deepseek",
    timeoutSeconds: options.timeoutSeconds ?? 600,
    maxTokens: options.maxTokens,
    logsTexts: options.logsTexts ?? false,
  };
  const access = new Access(options.access ?? {});
  return {
    app: createApp({ serving, access, ...(options.closing ? { closing: options.closing } : {}) }),
    serving,
  };
}
