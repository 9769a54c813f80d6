/** How the server is: for load balancers, for Prometheus, and its own description. */
import { Hono } from "hono";
import { VERSION } from "../../base/version.ts";
import type { RouteEnvironment } from "../app.ts";
import { openApi } from "../openapi.ts";
import type { Serving } from "../serving.ts";
import { studioPaths } from "../studio/studio-openapi.ts";

export function stateRoutes({ models, metrics }: Serving, closing?: AbortSignal): Hono<RouteEnvironment> {
  const app = new Hono<RouteEnvironment>();
  // Needs no key, so whoever has none learns that the server is there, and not what it serves.
  app.get("/health", (context) => {
    const isClosing = closing?.aborted === true;
    const all = models.list();
    const told = all.map(({ source, state, numRequests: requests }) => ({ id: source.id, state, requests }));
    const body = {
      status: isClosing ? "closing" : "ok",
      version: VERSION,
      ...(context.get("isKnown") ? { models: told } : {}),
    };
    return context.json(body, isClosing ? 503 : 200);
  });
  app.get("/metrics", ({ body }) =>
    body(metrics.text(), 200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" }),
  );
  app.get("/openapi.json", ({ json }) => json(openApi(studioPaths())));
  return app;
}
