/** A server's parts put together: models, metrics, routes. For cli/, for tests, and for programs that have sockets. */
import type { Hono } from "hono";
import type { ReasoningFormat } from "../text/output-parser.ts";
import { Access, type AccessOptions } from "./access.ts";
import { createApp, type RouteEnvironment } from "./app.ts";
import { Models, type ModelsOptions } from "./models.ts";
import type { ServedSource } from "./served-model.ts";
import { ServerMetrics } from "./server-metrics.ts";
import type { ServerLog, Serving } from "./serving.ts";
import { createStudio, type StudioOptions } from "./studio/studio-routes.ts";

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
  studio?: StudioOptions;
}

export interface OpenServing {
  app: Hono<RouteEnvironment>;
  serving: Serving;
  /** Pauses builds and ends all models. Answers that are under way fail. */
  close: () => Promise<void>;
}

const SILENT: ServerLog = { info: () => {}, error: () => {} };

export async function openServing(
  sources: readonly ServedSource[],
  options: ServeOptions = {},
): Promise<OpenServing> {
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
  const studio = await createStudio(serving, options.studio);
  const app = createApp({
    ...{ serving, access, routes: [{ path: "/api", routes: studio.routes }] },
    ...(options.closing ? { closing: options.closing } : {}),
  });
  const close = async () => {
    await studio.close();
    await models.close();
  };
  return { app, serving, close };
}
