import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { Aggregate } from "../../src/survey/aggregate.ts";
import { type CompareReport, compare } from "../../src/survey/compare.ts";
import { distanceMap } from "../../src/survey/distance-map.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { elementsOf, parseXml, type XmlElement } from "../support/xml-check.ts";
import { MINI_R1, MINI_V3, single } from "./mini.ts";

const titles = (svg: XmlElement): string[] =>
  [...elementsOf(svg)].filter(({ name }) => name === "title").map(({ text }) => text);
const labels = (svg: XmlElement): string[] =>
  [...elementsOf(svg)].filter(({ name }) => name === "text").map(({ text }) => text);
const cells = (svg: XmlElement): XmlElement[] =>
  [...elementsOf(svg)].filter(({ name, children }) => name === "path" && children[0]?.name === "title");

describe("distanceMap() of mini-v3 and mini-r1", async () => {
  const report = await compare(MINI_V3, MINI_R1);
  const text = distanceMap(report);
  const svg = parseXml(text);

  test("is one SVG that needs nothing else and has room for all it draws", () => {
    assert.equal(svg.name, "svg");
    assert.ok(!/<(script|image|use|foreignObject)|href|url\(|@import|@font-face/.test(text));
    const [width, height] = ["width", "height"].map((key) => Number(svg.attributes.get(key)));
    assert.equal(svg.attributes.get("viewBox"), `0 0 ${width} ${height}`);
    for (const { attributes } of elementsOf(svg)) {
      const [, x, y] = /^M(-?[\d.]+) (-?[\d.]+)/.exec(attributes.get("d") ?? "M0 0")!;
      assert.ok(Number(x) >= 0 && Number(x) <= width! && Number(y) >= 0 && Number(y) <= height!);
      assert.ok(Number(attributes.get("x") ?? 0) <= width! && Number(attributes.get("y") ?? 0) <= height!);
    }
  });

  test("has a cell with a title for each layer and role and for each expert", () => {
    assert.equal(cells(svg).length, report.byLayerRole.length + report.byLayerExpert.length);
    const found = titles(svg);
    assert.equal(found[0], "mini-r1 against mini-v3");
    assert.match(
      found.find((title) => title.startsWith("layer 2 · attention"))!,
      /· 0\.00\d+ \(7 tensors\)$/,
    );
    assert.match(found.find((title) => title.startsWith("layer 4 · expert 15"))!, /· 0\.01\d+$/);
    assert.ok(found.some((title) => title.startsWith("no layer · embeddings")));
  });

  test("names its axes and the numbers of its scales", () => {
    const found = labels(svg);
    for (const label of [
      "by role",
      "by routed expert",
      "layer",
      "expert",
      "MTP 4",
      "no layer",
      "router",
      "15",
    ]) {
      assert.ok(found.includes(label), label);
    }
    assert.equal(found.filter((label) => label === "rms difference").length, 2);
    assert.equal(found.filter((label) => label === "no difference").length, 2);
  });
});

test("distanceMap() of identical parents has no colour and no numbers, and is well-formed", async () => {
  const svg = parseXml(distanceMap(await compare(MINI_V3, MINI_V3)));
  assert.ok(cells(svg).every(({ attributes }) => attributes.get("class") === "same"));
  assert.ok(!labels(svg).includes("rms difference"));
});

test("distanceMap() without layers and experts, with hostile names", async (t) => {
  const folder = temporaryFolder(t);
  const base = single(join(folder, 'a<&>"\u001b'), "x", [1]);
  const report = await compare(base, single(join(folder, "b"), "x", [2]));
  const svg = parseXml(distanceMap(report));
  assert.equal(cells(svg).length, 1);
  assert.ok(!labels(svg).includes("by routed expert"));
  assert.equal(titles(svg)[0], "b against a&#60;&#38;&#62;&#34;\ufffd");
});

/** A comparison of the size of DeepSeek-V3, or of any other. */
function made(numLayers: number, numExperts: number, distance: (at: number) => number | null): CompareReport {
  const of = (at: number): Aggregate => {
    const value = distance(at);
    const spread = { mean: value, min: value, max: value };
    const equal = value === 0 ? 1 : 0;
    return { tensors: 1, equal, identical: equal, elements: 1, bytes: 1, rms: spread, relative: spread };
  };
  const layers = Array.from({ length: numLayers }, (_, layer) => layer);
  const mtp = false;
  return {
    base: { label: "base" },
    other: { label: "other" },
    ...{ measure: "rms", sample: null, total: of(1) },
    byLayerRole: layers.map((layer) => ({ layer, role: "attention", mtp, ...of(layer) })),
    byLayerExpert: layers.flatMap((layer) =>
      Array.from({ length: numExperts }, (_, expert) => ({
        layer,
        expert,
        mtp,
        ...of(layer * 1000 + expert),
      })),
    ),
  } as unknown as CompareReport;
}

test("distanceMap() of 62 layers × 256 experts stays below 20,000 elements and lists each expert once a layer", () => {
  const text = distanceMap(made(62, 256, (at) => 1e-4 * (1 + Math.sin(at * 12.9898) ** 2)));
  const svg = parseXml(text);
  assert.ok([...elementsOf(svg)].length < 20_000);
  assert.ok(text.length < 1_000_000, `${text.length} characters`);
  const seen = new Map<string, number>();
  for (const title of titles(svg)) {
    const match = /^(layer \d+) · [\d.e-]+(?:–[\d.e-]+)? · experts ([\d–, ]+)$/.exec(title);
    const single = /^(layer \d+) · expert \d+ ·/.exec(title);
    if (single) seen.set(single[1]!, (seen.get(single[1]!) ?? 0) + 1);
    if (!match) continue;
    for (const range of match[2]!.split(", ")) {
      const [first, last = first] = range.split("–").map(Number);
      seen.set(match[1]!, (seen.get(match[1]!) ?? 0) + last! - first! + 1);
    }
  }
  assert.deepEqual([seen.size, ...new Set(seen.values())], [62, 256]);
});

test("distanceMap() draws one layer, one value, many experts and infinite distances", () => {
  for (const report of [
    made(1, 0, () => 0.5),
    made(1, 1, () => 0.5),
    made(200, 4, (at) => at),
    made(2, 2000, (at) => at % 3),
    made(3, 3, (at) => (at % 2 ? null : 1)),
    made(2, 2, () => null),
  ]) {
    const svg = parseXml(distanceMap(report));
    for (const { attributes } of cells(svg)) {
      assert.match(attributes.get("fill") ?? "#000000", /^#[0-9a-f]{6}$/);
      assert.ok(!attributes.get("d")!.includes("NaN"));
    }
  }
});
