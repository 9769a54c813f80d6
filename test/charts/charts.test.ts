/** Plots: points where they belong, names that fit, and whatever data may be. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { niceStep, scaleOf } from "../../src/charts/axis.ts";
import { barChart } from "../../src/charts/bar-chart.ts";
import { lineChart } from "../../src/charts/line-chart.ts";
import { scatterChart } from "../../src/charts/scatter-chart.ts";
import { elementsOf, parseXml, type XmlElement } from "../support/xml-check.ts";

const NASTY = "a<b>&\"'\u0007\u202e</title><script>alert(1)</script>";
const X = { label: "λ" };
const Y = { label: "accuracy", min: 0, max: 1 };

/** Elements of a class; every chart must be well-formed for it. */
function classed(svg: string, name: string): XmlElement[] {
  return [...elementsOf(parseXml(svg))].filter((one) =>
    (one.attributes.get("class") ?? "").split(" ").includes(name),
  );
}

const numbersOf = (path: string) => [...path.matchAll(/-?\d+(?:\.\d+)?/g)].map(([number]) => Number(number));

describe("scaleOf()", () => {
  test("has ascending ticks that cover the data, about as many as wanted", () => {
    const values = fc.array(
      fc.integer({ min: -1e9, max: 1e9 }).map((n) => n / 1000),
      { minLength: 1, maxLength: 20 },
    );
    fc.assert(
      fc.property(values, fc.integer({ min: 2, max: 10 }), (data, count) => {
        const { ticks, min, max, at } = scaleOf({ label: "" }, data, { from: 0, to: 100, count });
        assert.ok(ticks.length >= 2 && ticks.length <= 2 * count + 3, `${ticks.length} ticks`);
        for (let i = 1; i < ticks.length; i++) assert.ok(ticks[i]! > ticks[i - 1]!);
        for (const value of data)
          assert.ok(value >= min - 1e-6 * Math.abs(min) && value <= max + 1e-6 * Math.abs(max));
        assert.deepEqual([at(min), at(max)], [0, 100]);
      }),
      { seed: 7, numRuns: 300 },
    );
  });

  test("writes ticks as short as they can be: decimals, percent", () => {
    const plain = scaleOf({ label: "", min: 0, max: 1 }, [], { from: 0, to: 1, count: 10 });
    assert.deepEqual(plain.ticks.map(plain.format), "0.0 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 1.0".split(" "));
    const share = scaleOf({ label: "", format: "percent", min: 0, max: 1 }, [], { from: 0, to: 1 });
    assert.deepEqual(share.ticks.map(share.format), ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]);
  });

  test("has an axis for nothing, for one value, for equal ones, and none for infinities", () => {
    const odd = [
      [1e9, 1e9 + 1e-7],
      [-1.7e308, 1.7e308],
      [1e-300, 2e-300],
    ];
    for (const data of [[], [0], [5], [-5, -5], [Number.NaN], [Number.POSITIVE_INFINITY, 3], ...odd]) {
      const { ticks, at } = scaleOf({ label: "" }, data, { from: 0, to: 100 });
      assert.ok(ticks.length >= 2 && ticks.every(Number.isFinite), String(data));
      assert.equal(new Set(ticks).size, ticks.length, String(data));
      assert.ok(Number.isFinite(at(1)));
    }
  });

  test("reaches to where it is told to begin and end, and to the data beyond", () => {
    const { min, max } = scaleOf({ label: "", min: 5 }, [1, 2], { from: 0, to: 1 });
    assert.deepEqual([min, max], [1, 5]);
    assert.equal(scaleOf({ label: "", min: 0, max: 1 }, [3], { from: 0, to: 1 }).max, 3);
  });

  test("niceStep() is 1, 2 or 5 times a power of ten", () => {
    assert.deepEqual(
      [niceStep(10, 5), niceStep(1, 5), niceStep(7, 3), niceStep(0.013, 4)],
      [2, 0.2, 5, 0.005],
    );
  });
});

describe("lineChart()", () => {
  const series = [
    {
      name: "routed-experts",
      points: [0, 0.5, 1].map((x) => ({ x, y: x / 2, low: x / 4, high: x, title: `at ${x}` })),
    },
    {
      name: "all",
      points: [
        { x: 0, y: 1 },
        { x: 1, y: 0 },
      ],
    },
  ];

  test("puts points where they belong", () => {
    const svg = lineChart({ title: "t", x: X, y: Y, series });
    // Two series, so one line of legend: the plot is 70…696 by 64…324.
    const [first] = classed(svg, "l0");
    assert.deepEqual(numbersOf(first!.attributes.get("d")!), [70, 324, 383, 259, 696, 194]);
    const [second] = classed(svg, "l1");
    assert.deepEqual(numbersOf(second!.attributes.get("d")!), [70, 64, 696, 324]);
    assert.equal(classed(svg, "mark").length, 2 + 3 + 2); // the legend's too
    const band = numbersOf(classed(svg, "band")[0]!.attributes.get("d")!);
    assert.deepEqual(
      band,
      [70, 324, 383, 194, 696, 64, 696, 259, 383, 291.5, 70, 324].map((n) => (n === 291.5 ? 291.5 : n)),
    );
  });

  test("sorts points, leaves out what is no number, and says so where nothing is left", () => {
    const points = [
      { x: 1, y: 1 },
      { x: Number.NaN, y: 0 },
      { x: 0, y: 0 },
      { x: 0.5, y: Number.POSITIVE_INFINITY },
    ];
    const svg = lineChart({ title: "t", x: X, y: Y, series: [{ name: "a", points }] });
    assert.deepEqual(numbersOf(classed(svg, "l0")[0]!.attributes.get("d")!), [70, 324, 696, 44]);
    for (const none of [[], [{ name: "a", points: [] }]])
      assert.match(lineChart({ title: "t", x: X, y: Y, series: none }), />no data</);
  });

  test("draws references across, and keeps their names apart", () => {
    const references = [
      { name: "r1", y: 0.9 },
      { name: "r1-1776", y: 0.905 },
      { name: "nan", y: Number.NaN },
    ];
    const svg = lineChart({ title: "t", x: X, y: Y, series, references });
    assert.equal(classed(svg, "reference").length, 2);
    const tops = [...elementsOf(parseXml(svg))]
      .filter((one) => one.name === "text" && one.text.startsWith("r1"))
      .map((one) => Number(one.attributes.get("y")));
    assert.equal(tops.length, 2);
    assert.ok(Math.abs(tops[0]! - tops[1]!) >= 15, String(tops));
  });

  test("tells its title to those who do not see it, and each point's; links lead on", () => {
    const points = [{ x: 0, y: 1, title: "λ 0: 1.000", href: "runs/a b/records.ndjson" }];
    const svg = lineChart({
      title: "Accuracy",
      description: "flat",
      x: X,
      y: Y,
      series: [{ name: "a", points }],
    });
    const root = [...elementsOf(parseXml(svg))].find(({ name }) => name === "svg")!;
    // An image is one thing to a screen reader: with links in it, it is a group.
    assert.deepEqual(
      [root.attributes.get("role"), root.attributes.get("aria-label")],
      ["group", "Accuracy. flat"],
    );
    const still = lineChart({ title: "t", x: X, y: Y, series: [{ name: "a", points: [{ x: 0, y: 1 }] }] });
    assert.match(still, /role="img"/);
    assert.match(svg, /<title>λ 0: 1\.000<\/title>/);
    assert.match(svg, /<a href="runs\/a b\/records\.ndjson">/);
  });

  test("keeps its plot beside long names of references, and many of them out of the axis below", () => {
    const long = "a parent whose name is longer than any chart is wide, and then some more of it";
    const references = [long, "b", "c", "d", "e"].map((name) => ({ name, y: 0 }));
    const svg = lineChart({ title: long.repeat(3), x: X, y: Y, series, references });
    const [from, , to] = numbersOf(classed(svg, "reference")[0]!.attributes.get("d")!);
    assert.ok(to! - from! > 400, `${from} to ${to}`);
    const names = classed(svg, "soft").filter((one) => /^(a par.*…|[b-e])$/.test(one.text));
    const tops = names.map((one) => Number(one.attributes.get("y"))).sort((a, b) => a - b);
    assert.equal(tops.length, 5);
    assert.ok(tops.at(-1)! <= 324 + 4, "324 is the plot's bottom");
    for (let i = 1; i < 5; i++) assert.ok(tops[i]! - tops[i - 1]! >= 15.9);
    assert.ok(svg.includes(`<title>${long}</title>`), "whole where one points at it");
  });

  test("draws an interval that stands alone", () => {
    const points = [{ x: 0.5, y: 0.5, low: 0.25, high: 0.75 }];
    const svg = lineChart({ title: "t", x: { ...X, min: 0, max: 1 }, y: Y, series: [{ name: "a", points }] });
    assert.equal(classed(svg, "band").length, 0);
    assert.deepEqual(numbersOf(classed(svg, "whisker")[0]!.attributes.get("d")!), [383, 254, 383, 114]);
  });

  test("tells twelve series apart by colour and shape, and breaks a legend that is too wide", () => {
    const many = Array.from({ length: 12 }, (_, i) => ({
      name: `series ${i}`,
      points: [{ x: 0, y: i / 12 }],
    }));
    const svg = lineChart({ title: "t", x: X, y: Y, series: many });
    const legendMarks = classed(svg, "mark").slice(0, 12);
    const looks = legendMarks.map(({ name, attributes }) => {
      const path = (attributes.get("d") ?? "").replace(/^M[\d. -]+/, "");
      return `${name} ${path} ${attributes.get("class")}`;
    });
    assert.equal(new Set(looks).size, 12);
    const names = [...elementsOf(parseXml(svg))].filter((one) => /^series \d+$/.test(one.text));
    const lines = new Set(names.map((one) => one.attributes.get("y")));
    assert.ok(lines.size > 1);
    for (const one of names) assert.ok(Number(one.attributes.get("x")) < 650);
  });
});

describe("barChart()", () => {
  const bars = [
    { name: "attention → r1", value: 0.5, low: 0.25, high: 0.75, isReal: true },
    { name: "norms → r1", value: -0.5, isReal: false },
  ];

  test("draws from zero, what is real filled, what may be chance hollow", () => {
    const svg = barChart({ title: "t", x: { label: "difference", min: -1, max: 1 }, bars });
    const zero = numbersOf(classed(svg, "axis")[0]!.attributes.get("d")!)[0]!;
    const [filled] = classed(svg, "f0");
    const [hollow] = classed(svg, "hollow");
    const [from, , to] = numbersOf(filled!.attributes.get("d")!);
    const [start, , end] = numbersOf(hollow!.attributes.get("d")!);
    assert.ok(from === zero && to! > zero && start === zero && end! < zero);
    assert.ok(Math.abs(to! - zero - (zero - end!)) < 0.2, "as far to the left as to the right");
    const [[left, , right], ...ends] = classed(svg, "whisker").map((one) =>
      numbersOf(one.attributes.get("d")!),
    ) as [number[], ...number[][]];
    assert.ok(left! > zero && right! > to!, "from 0.25 to 0.75, round 0.5");
    assert.ok(Math.abs(to! - left! - (right! - to!)) < 0.2);
    assert.deepEqual(
      ends.map(([x]) => x),
      [left, right],
    );
  });

  test("draws nothing of nothing, and of what is no number", () => {
    for (const none of [[], [{ name: "x", value: Number.NaN, isReal: true }]])
      assert.equal(classed(barChart({ title: "t", x: X, bars: none }), "f0").length, 0);
  });
});

describe("scatterChart()", () => {
  test("draws the front as steps: between two points, what the cheaper one gives", () => {
    const points = [
      { x: 0, y: 0.5, isOnFront: true },
      { x: 50, y: 1, isOnFront: true },
      { x: 80, y: 0.2 },
    ];
    const svg = scatterChart({
      title: "t",
      x: { label: "tokens", min: 0, max: 100 },
      y: Y,
      series: [{ name: "a", points }],
    });
    // The plot is 70…680 by 44…364.
    assert.equal(classed(svg, "l0")[0]!.attributes.get("d"), "M70 204H375V44H680");
    const places = classed(svg, "mark").map(({ attributes }) =>
      [attributes.get("cx"), attributes.get("cy")].map(Number),
    );
    assert.deepEqual(places, [
      [70, 204],
      [375, 44],
      [558, 300],
    ]);
    assert.equal(classed(scatterChart({ title: "t", x: X, y: Y, series: [] }), "mark").length, 0);
  });
});

test("charts are well-formed whatever things are called, need nothing from elsewhere, and are the same each time", () => {
  const many = Array.from({ length: 200 }, (_, i) => ({
    x: i,
    y: Math.sin(i),
    title: NASTY,
    href: NASTY,
    label: NASTY,
  }));
  const draw = () => [
    lineChart({
      ...{ title: NASTY, description: NASTY, x: { label: NASTY }, y: { label: NASTY } },
      series: Array.from({ length: 8 }, (_, i) => ({ name: `${NASTY} ${i}`, points: many })),
      references: [{ name: NASTY, y: 0 }],
    }),
    scatterChart({
      title: NASTY,
      x: { label: NASTY },
      y: { label: NASTY },
      series: [{ name: NASTY, points: many }],
    }),
    barChart({
      title: NASTY,
      x: { label: NASTY },
      bars: many.map(({ y }) => ({ name: NASTY, value: y, isReal: y > 0 })),
    }),
  ];
  const charts = draw();
  assert.deepEqual(draw(), charts);
  for (const svg of charts) {
    const all = [...elementsOf(parseXml(svg))];
    assert.ok(all.every(({ name }) => name !== "script"));
    assert.ok(
      all.every((one) => !one.attributes.has("id")),
      "several stand in one page",
    );
    assert.doesNotMatch(svg.replace('xmlns="http://www.w3.org/2000/svg"', ""), /https?:\/\/|url\(|@import/);
    assert.match(svg, /prefers-color-scheme:dark/);
  }
});
