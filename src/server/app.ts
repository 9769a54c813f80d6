/**
 * The server as one function from a request to a response: who may ask, which route answers, how errors are told.
 * Sockets are opened by cli/.
 */
import { Hono } from "hono";
import { VERSION } from "../base/version.ts";
import type { Access } from "./access.ts";
import { ApiError, apiErrorOf, unexpected } from "./api-error.ts";
import { openAiRoutes } from "./routes/openai.ts";
import { stateRoutes } from "./routes/state.ts";
import type { Serving } from "./serving.ts";
import { studioFiles } from "./studio-files.ts";

/** What a route is given beside the request. */
export interface RouteEnvironment {
  Variables: { requestId: string };
}

export interface AppOptions {
  serving: Serving;
  access: Access;
  /** Further routes, below their path. */
  routes?: readonly { path: string; routes: Hono<RouteEnvironment> }[];
  /** Fires when the server is going down: no new work is begun. */
  closing?: AbortSignal;
}

/** Whoever watches the server need not have a key for this. */
const OPEN_PATHS = new Set(["/health"]);
/** What needs a key: the page itself holds nothing. */
const GUARDED = /^\/(v1|api|metrics|openapi\.json)(\/|$)/;

export function createApp({ serving, access, routes = [], closing }: AppOptions): Hono<RouteEnvironment> {
  const app = new Hono<RouteEnvironment>();
  let numRequests = 0;

  app.use("*", async (context, next) => {
    const { headers, method } = context.req.raw;
    const startedAt = performance.now();
    const { path } = context.req;
    context.set("requestId", `req_${Date.now().toString(36)}${(numRequests++).toString(36)}`);
    const foreign = access.checkPlace(headers);
    if (foreign !== undefined) {
      context.header("access-control-allow-origin", foreign);
      context.header("vary", "Origin");
      if (method === "OPTIONS") {
        context.header("access-control-allow-methods", "GET, POST, DELETE");
        context.header("access-control-allow-headers", "authorization, content-type");
        context.header("access-control-max-age", "600");
        return context.body(null, 204);
      }
    }
    if (GUARDED.test(path) && !OPEN_PATHS.has(path)) access.checkKey(headers);
    if (closing?.aborted && !OPEN_PATHS.has(path))
      throw new ApiError(503, "The server is going down", { code: "closing", retryAfter: 5 });
    await next();
    context.header("x-request-id", context.get("requestId"));
    context.header("x-content-type-options", "nosniff");
    const { status } = context.res;
    serving.metrics.request(routeOf(path), status);
    const ms = Math.round(performance.now() - startedAt);
    serving.log.info("request", { id: context.get("requestId"), method, path, status, ms });
    return undefined;
  });

  app.route("/", openAiRoutes(serving));
  app.route("/", stateRoutes(serving));
  for (const { path, routes: more } of routes) app.route(path, more);
  app.route("/", studioFiles()); // last: whatever is no route is a page

  app.notFound(({ req }) =>
    new ApiError(404, `There is no ${req.method} ${req.path}`, { code: "not_found" }).response(),
  );
  app.onError((error, context) => {
    const told = apiErrorOf(error);
    if (!told) serving.log.error("failed", { path: context.req.path, error: String(error.stack ?? error) });
    return (told ?? unexpected()).response();
  });
  return app;
}

/** Of the server, for clients and logs. */
export const SERVER_NAME: string = `chimera/${VERSION}`;

/** Few values, whatever is asked for: names of models and paths are the client's. */
function routeOf(path: string): string {
  const known =
    /^\/(v1\/(models|chat\/completions|completions|embeddings)|health|metrics|openapi\.json|api\/[a-z]+)/.exec(
      path,
    );
  return known ? known[0] : path === "/" ? "/" : "other";
}
