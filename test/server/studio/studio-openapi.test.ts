/** The description of the API names the routes that there are, and no others. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { openStudio } from "./support.ts";

test("openapi.json has every route of the server", async () => {
  const server = await openStudio();
  try {
    const response = await server.app.request("/openapi.json", { headers: { host: "localhost" } });
    const { paths } = (await response.json()) as { paths: Record<string, Record<string, object>> };
    const told = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods)
        .filter((method) => /^(get|post|delete)$/.test(method))
        .map((method) => `${method.toUpperCase()} ${path}`),
    );
    const there = server.app.routes
      .filter(({ method, path }) => /^(GET|POST|DELETE)$/.test(method) && !path.includes("*"))
      .map(({ method, path }) => `${method} ${path.replace(/:(\w+)(\{[^}]*\})?/g, "{$1}")}`);
    assert.deepEqual(told.sort(), [...new Set(there)].sort());
  } finally {
    await server.close();
  }
});
