/** The text format of Prometheus, line by line. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Metrics } from "../../src/server/metrics.ts";

test("text() has each family with its help and type, and labels escaped", () => {
  const metrics = new Metrics();
  const counter = metrics.counter("asked_total", "Questions.");
  metrics.gauge("size", "Size.", () => [[{}, 2.5]]);
  metrics.total("seen_total", "Seen.", () => [[{ model: "m" }, 7]]);
  counter.add({ model: 'a"b\\c\nd' });
  counter.add({ model: 'a"b\\c\nd' }, 2);
  counter.add({ model: "e" });
  assert.equal(
    metrics.text(),
    `# HELP asked_total Questions.
# TYPE asked_total counter
asked_total{model="a\\"b\\\\c\\nd"} 3
asked_total{model="e"} 1
# HELP size Size.
# TYPE size gauge
size 2.5
# HELP seen_total Seen.
# TYPE seen_total counter
seen_total{model="m"} 7
`,
  );
});

test("a histogram counts each bucket with those below it, and what is beyond them all", () => {
  const metrics = new Metrics();
  const seconds = metrics.histogram("seconds", "Time.", [0.1, 1]);
  for (const value of [0.05, 0.1, 0.5, 3]) seconds.observe({ model: "m" }, value);
  seconds.observe({ model: "m" }, 0.25, 4);
  assert.equal(
    metrics.text(),
    `# HELP seconds Time.
# TYPE seconds histogram
seconds_bucket{model="m",le="0.1"} 2
seconds_bucket{model="m",le="1"} 7
seconds_bucket{model="m",le="+Inf"} 8
seconds_sum{model="m"} 4.65
seconds_count{model="m"} 8
`,
  );
});
