/** Lines that grow: what was appended stays, a line that was cut off goes, and nothing else is touched. */
import assert from "node:assert/strict";
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { CheckpointError } from "../../src/base/errors.ts";
import { openJsonLines, readJsonLines } from "../../src/checkpoint/node-lines.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

test("openJsonLines() makes the file, appends, and gives what it held when it is opened again", (t) => {
  const path = join(temporaryFolder(t), "a.ndjson");
  const values = [{ a: 1 }, "zwölf 🐉\n", [null, "\ud800"], {}];
  const first = openJsonLines(path);
  assert.deepEqual(first.lines, []);
  for (const value of values.slice(0, 2)) first.append(value);
  first.close();
  first.close();
  const second = openJsonLines(path);
  assert.deepEqual(second.lines, values.slice(0, 2));
  for (const value of values.slice(2)) second.append(value);
  // Before it is closed: another process sees it at once.
  assert.deepEqual(readJsonLines(path), values);
  second.close();
  assert.equal(readFileSync(path, "utf8"), values.map((value) => `${JSON.stringify(value)}\n`).join(""));
  assert.throws(() => second.append(1), /internal: .* is closed/);
});

test("openJsonLines() heals a last line cut off at any byte, in the middle of a character too", (t) => {
  const path = join(temporaryFolder(t), "a.ndjson");
  const whole = Buffer.from('{"id":1}\n');
  const torn = Buffer.from('{"id":2,"text":"größer 🐉"}');
  for (let length = 0; length <= torn.length; length++) {
    writeFileSync(path, Buffer.concat([whole, torn.subarray(0, length)]));
    assert.deepEqual(readJsonLines(path), [{ id: 1 }]);
    const file = openJsonLines(path);
    assert.deepEqual(file.lines, [{ id: 1 }]);
    file.append({ id: 3 });
    file.close();
    assert.equal(readFileSync(path, "utf8"), '{"id":1}\n{"id":3}\n');
  }
});

test("openJsonLines() and readJsonLines() name the line that is no JSON, and change nothing", (t) => {
  const path = join(temporaryFolder(t), "a.ndjson");
  const text = '{"id":1}\n\n{"id":\n{"id":3}\n{"to';
  writeFileSync(path, text.replace('\n{"to', "\n"));
  for (const read of [openJsonLines, readJsonLines])
    assert.throws(() => read(path), {
      code: "damaged",
      message: `Cannot read "${path}": line 3 is no JSON, wanted a record`,
    });
  writeFileSync(path, text);
  assert.throws(() => openJsonLines(path), CheckpointError);
  assert.equal(readFileSync(path, "utf8"), text);
});

test("readJsonLines() reads nothing where there is no file, and refuses a folder", (t) => {
  const folder = temporaryFolder(t);
  assert.deepEqual(readJsonLines(join(folder, "none")), []);
  mkdirSync(join(folder, "folder"));
  for (const read of [openJsonLines, readJsonLines]) assert.throws(() => read(join(folder, "folder")));
  appendFileSync(join(folder, "lf"), "\n\n");
  assert.deepEqual(readJsonLines(join(folder, "lf")), []);
});
