import assert from "node:assert/strict";
import { test } from "node:test";
import { FAMILIES } from "../../src/arch/families.ts";

test("FAMILIES have ids, model types and classes of their own", () => {
  for (const all of [
    FAMILIES.map(({ id }) => id),
    FAMILIES.flatMap(({ modelTypes }) => modelTypes),
    FAMILIES.flatMap(({ classes }) => classes),
  ]) {
    assert.equal(new Set(all).size, all.length, all.join(" "));
  }
});

test("FAMILIES spell every pattern once, and quantise and keep only what a role covers", () => {
  for (const { id, layer, fp8, f32 } of FAMILIES) {
    const patterns = Object.values(layer).flat();
    assert.equal(new Set(patterns).size, patterns.length, id);
    const isCovered = (name: string): boolean =>
      patterns.some((pattern) =>
        pattern.endsWith(".*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern,
      );
    assert.deepEqual(
      [...fp8, ...f32].filter((name) => !isCovered(name)),
      [],
      id,
    );
  }
});
