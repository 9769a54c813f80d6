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
  /** `isKnown`: it has a key, or needs none. */
  Variables: { requestId: string; isKnown: boolean };
}

export interface AppOptions {
  serving: Serving;
  access: Access;
  /** Further routes, below their path. */
  routes?: readonly { path: string; routes: Hono<RouteEnvironment> }[];
  /** Fires when the server is going down: no new work is begun. */
  closing?: AbortSignal;
}

/** Whoever watches the server is answered to the end. */
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
    await next();
    // Headers are set when the response is there: routes give out responses of their own, errors too.
    const page = access.foreignPage(headers);
    if (page !== undefined) {
      context.header("access-control-allow-origin", page);
      context.header("access-control-expose-headers", "x-request-id, retry-after");
      context.header("vary", "Origin");
    }
    context.header("x-request-id", context.get("requestId"));
    context.header("x-content-type-options", "nosniff");
    const { status } = context.res;
    serving.metrics.request(routeOf(path), status);
    const ms = Math.round(performance.now() - startedAt);
    serving.log.info("request", { id: context.get("requestId"), method, path, status, ms });
  });
  // In a step of its own: who is refused is counted, logged and told as the others are.
  app.use("*", async (context, next) => {
    const { headers, method } = context.req.raw;
    const { path } = context.req;
    access.checkPlace(headers);
    if (method === "OPTIONS" && access.foreignPage(headers) !== undefined)
      return context.body(null, 204, {
        "access-control-allow-methods": "GET, POST, DELETE",
        // Whatever the page wants to send: the official client has a dozen headers of its own.
        "access-control-allow-headers":
          headers.get("access-control-request-headers") ?? "authorization, content-type",
        "access-control-max-age": "600",
      });
    if (GUARDED.test(path)) access.checkKey(headers);
    context.set("isKnown", access.hasKey(headers));
    if (closing?.aborted && !OPEN_PATHS.has(path))
      throw new ApiError(503, "The server is going down", { code: "closing", retryAfter: 5 });
    return next();
  });

  app.route("/", openAiRoutes(serving));
  app.route("/", stateRoutes(serving, closing));
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
