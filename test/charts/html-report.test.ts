/** A report as a page: escaped, self-contained, in order for those who hear it. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { htmlReport, type Report } from "../../src/charts/html-report.ts";
import { lineChart } from "../../src/charts/line-chart.ts";
import { elementsOf, parseXml, type XmlElement } from "../support/xml-check.ts";

const NASTY = '<script>alert("x")</script> & \u0007';
const svg = lineChart({
  title: "t",
  x: { label: "x" },
  y: { label: "y" },
  series: [{ name: "a", points: [{ x: 0, y: 1 }] }],
});

const REPORT: Report = {
  title: NASTY,
  lead: NASTY,
  sections: [
    {
      heading: NASTY,
      blocks: [
        { kind: "text", text: NASTY },
        { kind: "chart", svg, caption: NASTY },
        { kind: "chart", svg },
        {
          kind: "table",
          caption: "figures",
          columns: [{ label: "name" }, { label: "tokens", isNumber: true }],
          rows: [
            [{ text: NASTY, href: 'a"b' }, "1"],
            ["b", "2"],
          ],
        },
        { kind: "facts", facts: [[NASTY, NASTY]] },
        { kind: "details", summary: NASTY, blocks: [{ kind: "code", text: `a: 1\n\tb: ${NASTY}` }] },
      ],
    },
    { heading: "second", blocks: [] },
  ],
};

/** The page as XML: its few void elements closed. */
function elements(html: string): XmlElement[] {
  const closed = html.replace("<!doctype html>\n", "").replace(/<meta ([^>]*)>/g, "<meta $1/>");
  return [...elementsOf(parseXml(closed))];
}

describe("htmlReport()", () => {
  const html = htmlReport(REPORT);
  const all = elements(html);

  test("escapes everything, runs nothing, fetches nothing", () => {
    assert.ok(all.every(({ name }) => !["script", "link", "iframe", "img"].includes(name)));
    assert.match(
      html,
      /http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'/,
    );
    assert.doesNotMatch(
      html.replaceAll('xmlns="http://www.w3.org/2000/svg"', ""),
      /https?:\/\/|url\(|@import|<script/,
    );
    assert.ok(all.every((one) => [...one.attributes.keys()].every((key) => !key.startsWith("on"))));
  });

  test("has one h1, sections under h2, a language, a main part", () => {
    const names = all.map(({ name }) => name);
    assert.equal(names.filter((name) => name === "h1").length, 1);
    assert.equal(names.filter((name) => name === "h2").length, 2);
    assert.equal(all.find(({ name }) => name === "html")!.attributes.get("lang"), "en");
    assert.ok(names.includes("main") && names.includes("header"));
  });

  test("tables have a caption, scopes and their numbers to the right", () => {
    const heads = all.filter(({ name }) => name === "th");
    assert.deepEqual(
      heads.map((one) => one.attributes.get("scope")),
      ["col", "col", "row", "row"],
    );
    assert.equal(all.filter(({ name }) => name === "caption").length, 1);
    assert.deepEqual(
      all.filter(({ name }) => name === "td").map((one) => one.attributes.get("class")),
      ["n", "n"],
    );
    const region = all.find((one) => one.attributes.get("role") === "region")!;
    assert.deepEqual(
      [region.attributes.get("aria-label"), region.attributes.get("tabindex")],
      ["figures", "0"],
    );
  });

  test("keeps lines and tabs of code, and is the same each time", () => {
    assert.match(html, /<code>a: 1\n\tb: /);
    assert.equal(htmlReport(REPORT), html);
  });

  test("is a page without sections too", () => {
    assert.ok(elements(htmlReport({ title: "t", sections: [] })).some(({ name }) => name === "main"));
  });
});
