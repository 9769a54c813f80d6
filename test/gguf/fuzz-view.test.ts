/**
 * A file whose head was changed at random, opened as a checkpoint and looked at: a CheckpointError, or a report.
 * Values of keys, names, types and shapes are hit, so what is built on the head is what is tried here.
 */
import assert from "node:assert/strict";
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { after, test } from "node:test";
import fc from "fast-check";
import { CheckpointError } from "../../src/base/errors.ts";
import { ggufOf } from "../../src/checkpoint/gguf-store.ts";
import { openStore } from "../../src/checkpoint/stores.ts";
import { inspect } from "../../src/survey/inspect.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { writeRandomGguf } from "./random-gguf.ts";

test("inspect() and reading of files with changed heads end in a report or in a CheckpointError", async () => {
  const folder = temporaryFolder({ after });
  const path = await writeRandomGguf(folder, "fuzzed", { typeOf: () => "Q8_0", seed: 9 });
  const { files } = await ggufOf(openStore(path))!.model();
  const { dataStart } = files[0]!.header;
  const original = readFileSync(path).subarray(0, dataStart);
  // The vocabulary is most of the head, and all alike.
  const [from, to] = [
    original.indexOf("tokenizer.ggml.tokens"),
    original.indexOf("tokenizer.ggml.bos_token_id"),
  ];
  assert.ok(from > 0 && to > from);
  const places = fc.oneof(fc.integer({ min: 24, max: from }), fc.integer({ min: to, max: dataStart - 1 }));
  const fd = openSync(path, "r+");
  after(() => closeSync(fd));
  let reports = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(places, fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 255))), {
        minLength: 1,
        maxLength: 3,
      }),
      async (changes) => {
        for (const [at, value] of changes) writeSync(fd, Uint8Array.of(value), 0, 1, at);
        try {
          await inspect(path);
          const store = openStore(path);
          for (const { name } of await store.list()) {
            if (!name.endsWith(".safetensors")) continue;
            const source = await store.open(name);
            const bytes = new Uint8Array(Math.min(source.byteLength, 3_000_000));
            await source.read(bytes, source.byteLength - bytes.length).finally(() => source.close());
          }
          reports++;
        } catch (error) {
          if (!(error instanceof CheckpointError)) throw error;
          assert.ok(error.message.length < 4000, error.message.slice(0, 200));
        } finally {
          for (const [at] of changes) writeSync(fd, original, at, 1, at);
        }
      },
    ),
    { seed: 20_250_503, numRuns: 250 },
  );
  assert.ok(reports > 20 && reports < 230, `${reports} of 250 were reported on`);
});
