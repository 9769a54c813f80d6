import assert from "node:assert/strict";
import { test } from "node:test";
import { stripVTControlCharacters } from "node:util";
import { barLine } from "../../src/cli/progress.ts";

const STATE = { done: 344_000_000_000, total: 688_586_727_753, detail: "model-00082-of-000163.safetensors" };

test("barLine() is narrower than its terminal, whatever the width, and always tells share and time left", () => {
  for (let columns = 40; columns <= 200; columns++) {
    const line = stripVTControlCharacters(barLine("verify", STATE, { rate: 1.2e9, columns }));
    assert.ok(line.length < columns, `${columns}: ${line}`);
    assert.match(line, /^verify █+░+ {2}49 % .*4:47 left/);
  }
});

test("barLine() leaves out the detail first, then the bytes", () => {
  const at = (columns: number) => stripVTControlCharacters(barLine("build", STATE, { rate: 1.2e9, columns }));
  assert.match(
    at(120),
    / 49 % 344 GB of 689 GB · 1.20 GB\/s · 4:47 left · model-00082-of-000163.safetensors$/,
  );
  assert.match(at(80), / 49 % 344 GB of 689 GB · 1.20 GB\/s · 4:47 left$/);
  assert.match(at(50), /█ *░* +49 % 1.20 GB\/s · 4:47 left$/);
});

test("barLine() knows no time left before there is a rate", () => {
  assert.match(
    stripVTControlCharacters(barLine("build", { ...STATE, done: 0 }, { rate: 0, columns: 80 })),
    / 0 % .* – left$/,
  );
});

test("barLine() counts tokens where they are the unit", () => {
  const state = { done: 1_500, total: 6_000, unit: "tokens" as const };
  assert.match(
    stripVTControlCharacters(barLine("score", state, { rate: 500, columns: 100 })),
    / 25 % 1,500 of 6,000 tokens · 500\.0 tokens\/s · \S+( s)? left$/,
  );
});
