/** How the server is: for load balancers, for Prometheus, and its own description. */
import { Hono } from "hono";
import { VERSION } from "../../base/version.ts";
import type { RouteEnvironment } from "../app.ts";
import { openApi } from "../openapi.ts";
import type { Serving } from "../serving.ts";
import { studioPaths } from "../studio/studio-openapi.ts";

export function stateRoutes({ models, metrics }: Serving): Hono<RouteEnvironment> {
  const app = new Hono<RouteEnvironment>();
  app.get("/health", ({ json }) =>
    json({
      status: "ok",
      version: VERSION,
      models: models
        .list()
        .map(({ source, state, numRequests }) => ({ id: source.id, state, requests: numRequests })),
    }),
  );
  app.get("/metrics", ({ body }) =>
    body(metrics.text(), 200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" }),
  );
  app.get("/openapi.json", ({ json }) => json(openApi(studioPaths())));
  return app;
}
