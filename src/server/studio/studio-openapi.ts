/** The studio's routes for openapi.json. Bodies and answers are told in full by api.ts; here stands what there is. */

const ROUTES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "/api/studio": { get: "What this server can do" },
  "/api/checkpoints": { get: "What is served: checkpoints and children" },
  "/api/checkpoints/{id}": { get: "A checkpoint, from its headers" },
  "/api/checkpoints/{id}/tensors": { get: "Its tensors; search, role, dtype, layer, offset, limit" },
  "/api/checkpoints/{id}/files": { get: "Its text files" },
  "/api/checkpoints/{id}/files/{name}": { get: "One of them" },
  "/api/compare": { post: "Compares two checkpoints; events of its progress, then the report" },
  "/api/recipe/words": { get: "The vocabulary of recipes" },
  "/api/recipe/read": { post: "A recipe's text as a form, or all its faults" },
  "/api/recipe/write": { post: "A form as text" },
  "/api/recipe/template": { post: "A recipe of two checkpoints" },
  "/api/plan": { post: "What a recipe would do, or what keeps it from that" },
  "/api/recipes": { post: "Makes a virtual child, or makes it anew" },
  "/api/recipes/{name}": { delete: "Takes it away" },
  "/api/builds": { get: "Builds that were started here", post: "Starts one" },
  "/api/builds/{id}": { get: "Its state", delete: "Stops it and removes what of it is there" },
  "/api/builds/{id}/events": { get: "Events of its state" },
  "/api/builds/{id}/pause": { post: "Pauses it" },
  "/api/builds/{id}/resume": { post: "Goes on with it" },
  "/api/runs": { get: "Evaluations and studies" },
  "/api/runs/{id}": { get: "An evaluation" },
  "/api/runs/{id}/records": { get: "Its records; task, topic, only, offset, limit" },
  "/api/studies/{id}": { get: "A sweep, a search or an ablation, with its points" },
  "/api/studies/{id}/files/{name}": { get: "One of its plots, or its report" },
};

export function studioPaths(): Record<string, object> {
  return Object.fromEntries(
    Object.entries(ROUTES).map(([path, methods]) => {
      const parameters = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
        ...{ name, in: "path", required: true, schema: { type: "string" } },
      }));
      const operations = Object.entries(methods).map(([method, summary]) => [
        method,
        operationOf(method, summary),
      ]);
      return [path, { ...(parameters.length > 0 ? { parameters } : {}), ...Object.fromEntries(operations) }];
    }),
  );
}

function operationOf(method: string, summary: string): object {
  const error = { $ref: "#/components/schemas/Error" };
  const body = { required: true, content: { "application/json": { schema: { type: "object" } } } };
  return {
    summary,
    ...(method === "post" ? { requestBody: body } : {}),
    responses: {
      "200": { description: "JSON, or events of it", content: { "application/json": { schema: {} } } },
      "4XX": { description: "What is wrong", content: { "application/json": { schema: error } } },
    },
  };
}
