import assert from "node:assert/strict";
import { test } from "node:test";
import { printable, shown } from "../../src/checkpoint/shown.ts";

test("printable() escapes what has no shape of its own, and nothing else", () => {
  assert.equal(printable("model.layers.0 …é日😀"), "model.layers.0 …é日😀");
  assert.equal(
    printable("\u001b[31m\r\n\t\u0000\u007f\u009b"),
    "\\u001b[31m\\u000d\\u000a\\u0009\\u0000\\u007f\\u009b",
  );
  assert.equal(
    printable("\u202e\u2066\u200b\ufeff\u00ad\u2028\u2029"),
    "\\u202e\\u2066\\u200b\\ufeff\\u00ad\\u2028\\u2029",
  );
  assert.equal(printable("\ud800x\udc00"), "\\ud800x\\udc00");
  assert.equal(printable("\u{e0001}"), "\\u{e0001}"); // a tag: unseen, and used to hide text
});

test("shown() cuts after 200 characters, never within one", () => {
  assert.equal(shown("x".repeat(200)), "x".repeat(200));
  assert.equal(shown("x".repeat(201)), `${"x".repeat(200)}…`);
  assert.equal(shown(`${"x".repeat(199)}😀`), `${"x".repeat(199)}…`);
  assert.equal(shown(`${"x".repeat(198)}😀y`), `${"x".repeat(198)}😀…`);
  assert.equal(shown("\u001b".repeat(201)), `${"\\u001b".repeat(200)}…`);
});
