/** The text format of Prometheus, line by line. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Metrics } from "../../src/server/metrics.ts";
import { metric, type RunningServer, startServed } from "../support/served.ts";

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

describe("of a server", () => {
  let run: RunningServer;
  before(async () => {
    run = await startServed({ places: ["models/mini-r1", "models/mini-v3"] });
  });
  after(() => run.close());

  test("/metrics tells what was asked and answered, in lines that can be read", async () => {
    const body = {
      model: "mini-r1",
      prompt: ["17 + 25 =", "a"],
      max_tokens: 5,
      n: 2,
      logit_bias: { 1: -100 },
    };
    const { usage } = await run.client.completions.create(body);
    await run.client.completions.create({ ...body, n: 99 }).catch(() => {});
    const told = (line: string) => metric(run.url, line);
    assert.equal(await told('chimera_generated_tokens_total{model="mini-r1"}'), 20);
    assert.equal(await told('chimera_prompt_tokens_total{model="mini-r1"}'), 2 * usage!.prompt_tokens);
    assert.equal(await told('chimera_requests_total{route="/v1/completions",status="200"}'), 1);
    assert.equal(await told('chimera_requests_total{route="/v1/completions",status="400"}'), 1);
    assert.equal(await told('chimera_first_token_seconds_count{model="mini-r1"}'), 4);
    assert.equal(await told('chimera_token_seconds_count{model="mini-r1"}'), 16);
    assert.equal(await told('chimera_model_loaded{model="mini-r1"}'), 1);
    assert.equal(await told('chimera_model_loaded{model="mini-v3"}'), 0);
    const response = await fetch(`${run.url}/metrics`);
    assert.match(response.headers.get("content-type")!, /^text\/plain; version=0\.0\.4/);
    for (const line of (await response.text()).trimEnd().split("\n"))
      assert.match(line, /^(# (HELP|TYPE) \w+ .+|\w+(\{(\w+="[^"]*",?)*\})? [0-9.e+-]+)$/);
  });

  test("a prompt whose likelihoods are told has its time in the queue too", async () => {
    const body = { model: "mini-r1", prompt: "17 + 25 =", max_tokens: 1, echo: true, logprobs: 1 };
    const told = (await run.client.completions.create(body)) as {
      timings?: { queue_ms: number; prompt_ms: number };
    };
    assert.ok(told.timings!.queue_ms > 0 && told.timings!.prompt_ms > 0);
  });

  test("/health tells the state of each model", async () => {
    const { version, ...told } = (await (await fetch(`${run.url}/health`)).json()) as { version: string };
    assert.match(version, /^\d/);
    assert.deepEqual(told, {
      status: "ok",
      models: [
        { id: "mini-r1", state: "ready", requests: 0 },
        { id: "mini-v3", state: "unloaded", requests: 0 },
      ],
    });
  });
});
