/** What stands in for Node in a bundle, against Node. */
import assert from "node:assert/strict";
import * as nodeCrypto from "node:crypto";
import { posix } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { Buffer as BufferShim } from "../../src/browser/shims/buffer.ts";
import { createHash } from "../../src/browser/shims/crypto.ts";
import {
  basename,
  dirname,
  extname,
  isAbsolute,
  join,
  relative,
  resolve,
} from "../../src/browser/shims/path.ts";

const anyPath = fc
  .array(fc.constantFrom("/", "//", "a", "b.c", ".d", "e.", ".", "..", "v3-0324"), { maxLength: 7 })
  .map((parts) => parts.join(""));

test("path: dirname(), basename(), extname(), isAbsolute() are those of node:path, where no slash is doubled", () => {
  fc.assert(
    fc.property(anyPath, (one) => {
      fc.pre(!one.includes("//"));
      const ours = [dirname(one), basename(one), isAbsolute(one)];
      assert.deepEqual(ours, [posix.dirname(one), posix.basename(one), posix.isAbsolute(one)], one);
      if (!one.endsWith("/")) assert.equal(extname(one), posix.extname(one), one);
    }),
    { seed: 1, numRuns: 3000 },
  );
});

test("path: join() and resolve() are those of node:path, but for closing slashes and the folder one is in", () => {
  const trimmed = (text: string) => text.replace(/(?<=.)\/+$/, "");
  fc.assert(
    fc.property(fc.array(anyPath, { minLength: 1, maxLength: 4 }), (some) => {
      assert.equal(join(...some), trimmed(posix.join(...some)), `join ${JSON.stringify(some)}`);
      assert.equal(resolve(...some), posix.resolve("/", ...some), `resolve ${JSON.stringify(some)}`);
    }),
    { seed: 1, numRuns: 3000 },
  );
});

test("path: relative() is that of node:path", () => {
  fc.assert(
    fc.property(anyPath, anyPath, (from, to) => {
      const wanted = posix.relative(posix.resolve("/", from), posix.resolve("/", to));
      assert.equal(relative(from, to), wanted, JSON.stringify([from, to]));
    }),
    { seed: 1, numRuns: 3000 },
  );
});

test("createHash() gives SHA-256 of bytes and texts in pieces, and refuses others", () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.string({ unit: "grapheme" }), fc.uint8Array({ maxLength: 200 }))),
      (pieces) => {
        const [ours, theirs] = [createHash("sha256"), nodeCrypto.createHash("sha256")];
        for (const piece of pieces) {
          ours.update(piece);
          theirs.update(piece);
        }
        assert.equal(ours.digest("hex"), theirs.digest("hex"));
      },
    ),
    { seed: 1 },
  );
  assert.throws(() => createHash("md5"), /^RangeError: Cannot hash by "md5", wanted "sha256"$/);
});

test("Buffer.compare() orders as Node's does", () => {
  const bytes = fc.uint8Array({ maxLength: 4, max: 2 });
  fc.assert(
    fc.property(bytes, bytes, (a, b) => {
      assert.equal(BufferShim.compare(a, b), Buffer.compare(a, b));
    }),
    { seed: 1, numRuns: 2000 },
  );
});
