// A reporter for node:test that tells the failed tests alone: name, place and error, for the end of a long log.

/** @param {AsyncIterable<{ type: string, data: Record<string, any> }>} events what node:test reports */
export default async function* failedTests(events) {
  for await (const { type, data } of events) {
    if (type !== "test:fail") continue;
    const cause = data.details?.error?.cause ?? data.details?.error;
    // A suite fails because a test in it did, which is told by itself.
    if (data.details?.error?.failureType === "subtestsFailed") continue;
    const place = data.file ? `${data.file}:${data.line ?? 1}` : "an unknown file";
    yield `✖ ${data.name} (${place}, ${Math.round(data.details?.duration_ms ?? 0)} ms)\n${indent(cause?.stack ?? String(cause))}\n`;
  }
}

function indent(text) {
  return text
    .split("\n")
    .slice(0, 40)
    .map((line) => `    ${line}`)
    .join("\n");
}
