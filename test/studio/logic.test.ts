/** What pages compute by themselves: conversations, thresholds, grids, lists that people type, events. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { colourAt, colourScale } from "../../src/studio/logic/colours.ts";
import {
  type Answer,
  addAnswer,
  addTurn,
  type Conversation,
  changeAnswer,
  EMPTY,
  messagesAt,
  showAnswer,
  shownTurns,
  showTurn,
  siblingsOf,
  turnOf,
} from "../../src/studio/logic/conversation.ts";
import { formatBytes, formatDistance, formatSeconds, formatShare } from "../../src/studio/logic/format.ts";
import { gridOf } from "../../src/studio/logic/heat-grid.ts";
import { highlightLine } from "../../src/studio/logic/highlight.ts";
import {
  readRanges,
  readShardSize,
  readWeight,
  writeRanges,
  writeShardSize,
} from "../../src/studio/logic/ranges.ts";
import { addSample, rateOf, type Sample } from "../../src/studio/logic/rate.ts";
import { squarify } from "../../src/studio/logic/squarify.ts";
import { dataOf } from "../../src/studio/logic/sse.ts";
import { DELTA_STEPS, deltaAt, stepOf, thresholdsOf } from "../../src/studio/logic/threshold.ts";

describe("conversation", () => {
  const answer = (content: string): Answer => ({ model: "m", reasoning: "r", content, state: "done" });
  /** a → b, with an answer each in column "m". */
  function twoTurns(): Conversation {
    const first = addTurn(EMPTY, undefined, "a");
    const one = addAnswer(first.conversation, first.id, "m", answer("A")).conversation;
    const second = addTurn(one, first.id, "b");
    return addAnswer(second.conversation, second.id, "m", answer("B")).conversation;
  }

  test("messagesAt() has the column's own answers before the turn, without thinking", () => {
    assert.deepEqual(messagesAt(twoTurns(), 2, "m", "be brief"), [
      { role: "system", content: "be brief" },
      { role: "user", content: "a" },
      { role: "assistant", content: "A" },
      { role: "user", content: "b" },
    ]);
    assert.deepEqual(
      messagesAt(twoTurns(), 2, "other", "").map(({ role }) => role),
      ["user", "user"],
    );
  });

  test("addTurn() beside a turn shows the new branch and keeps the other", () => {
    const { conversation, id } = addTurn(twoTurns(), undefined, "a2");
    assert.deepEqual(
      shownTurns(conversation).map(({ prompt }) => prompt),
      ["a2"],
    );
    const siblings = siblingsOf(conversation, turnOf(conversation, id));
    assert.deepEqual(
      siblings.map(({ prompt }) => prompt),
      ["a", "a2"],
    );
    assert.deepEqual(
      shownTurns(showTurn(conversation, siblings[0]!)).map(({ prompt }) => prompt),
      ["a", "b"],
    );
  });

  test("addAnswer() shows the latest; showAnswer() decides what later turns are told", () => {
    const again = addAnswer(twoTurns(), 1, "m", answer("A2"));
    assert.equal(again.index, 1);
    assert.equal(messagesAt(again.conversation, 2, "m", "")[1]!.content, "A2");
    const back = showAnswer(again.conversation, 1, "m", 0);
    assert.equal(messagesAt(back, 2, "m", "")[1]!.content, "A");
  });

  test("changeAnswer() changes that answer alone, and leaves the values before as they were", () => {
    const before = twoTurns();
    const changed = changeAnswer(before, { id: 1, column: "m", index: 0 }, (each) => ({
      ...each,
      content: "x",
    }));
    assert.equal(changed.turns[0]!.columns.m!.answers[0]!.content, "x");
    assert.equal(before.turns[0]!.columns.m!.answers[0]!.content, "A");
    assert.equal(changed.turns[1], before.turns[1]);
  });
});

describe("thresholds", () => {
  const distance = fc.oneof(fc.constant(0), fc.double({ min: 1e-6, max: 10, noNaN: true }));
  const rows = fc.array(fc.record({ distance, bytes: fc.integer({ min: 1, max: 1000 }) }), { minLength: 1 });

  test("above() counts what lies above δ, as counting one by one does", () => {
    fc.assert(
      fc.property(rows, distance, (all, delta) => {
        const above = all.filter((row) => row.distance > delta);
        const bytes = above.reduce((sum, row) => sum + row.bytes, 0);
        assert.deepEqual(thresholdsOf(all).above(delta), { tensors: above.length, bytes });
      }),
    );
  });

  test("deltaAt() begins with everything that differs and ends with nothing, rising", () => {
    fc.assert(
      fc.property(rows, (all) => {
        const { range, above } = thresholdsOf(all);
        if (!range) return;
        const deltas = Array.from({ length: DELTA_STEPS + 1 }, (_, step) => deltaAt(step, range));
        assert.ok(deltas.every((delta, step) => step === 0 || delta >= deltas[step - 1]!));
        const differing = all.filter((row) => row.distance > 0).length;
        assert.equal(above(deltas[0]!).tensors, differing);
        assert.equal(above(deltas.at(-1)!).tensors, 0);
      }),
    );
  });

  test("stepOf() is the way back of deltaAt()", () => {
    const range = [0.001, 0.01] as const;
    for (const step of [0, 1, 77, 250, DELTA_STEPS - 1])
      assert.ok(Math.abs(stepOf(deltaAt(step, range), range) - step) <= 1, String(step));
  });
});

describe("gridOf()", () => {
  test("lays layers out in order, what belongs to none last, and leaves holes", () => {
    const cell = (mean: number) => ({ rms: { mean, max: mean * 2 }, relative: { mean: null, max: null } });
    const items = [
      { layer: 3, mtp: true, role: "b", tensors: 1, ...cell(3) },
      { layer: 0, mtp: false, role: "a", tensors: 2, ...cell(1) },
      { mtp: false, role: "a", tensors: 1, ...cell(9) },
    ];
    const options = { columns: ["a", "b"], columnOf: ({ role }: (typeof items)[number]) => role };
    const grid = gridOf(items, "rms", options);
    assert.deepEqual(
      grid.rows.map(({ name }) => name),
      ["0", "3 MTP", "outside"],
    );
    assert.deepEqual(
      grid.cells.map((each) => each?.mean),
      [1, undefined, undefined, 3, 9, undefined],
    );
    assert.equal(gridOf(items, "relative", options).cells[0]!.max, Number.POSITIVE_INFINITY);
  });
});

describe("lists that people type", () => {
  test("readRanges() reads what writeRanges() writes", () => {
    const range = fc
      .tuple(fc.nat(1000), fc.nat(1000))
      .map(([a, b]) => ({ from: Math.min(a, b), to: Math.max(a, b) }));
    fc.assert(
      fc.property(fc.array(range), (ranges) => assert.deepEqual(readRanges(writeRanges(ranges)), ranges)),
    );
  });

  test("readRanges() takes spaces and commas, and nothing that is no range", () => {
    assert.deepEqual(readRanges("3-60, 70"), [
      { from: 3, to: 60 },
      { from: 70, to: 70 },
    ]);
    assert.deepEqual(readRanges("3 - 5"), [{ from: 3, to: 5 }]);
    assert.deepEqual(readRanges(" 1  2 "), readRanges("1,2"));
    assert.deepEqual(readRanges(""), []);
    for (const text of ["5-3", "a", "1-", "-1", "1.5"]) assert.equal(readRanges(text), undefined, text);
  });

  test("readWeight() reads one number, or a gradient", () => {
    assert.equal(readWeight("0.5"), 0.5);
    assert.equal(readWeight("-0.5"), -0.5);
    assert.deepEqual(readWeight("0.2, 0.8"), [0.2, 0.8]);
    assert.equal(readWeight("0.2, x"), undefined);
    assert.equal(readWeight(""), undefined);
  });

  test("readShardSize() reads sizes with units, and the base's", () => {
    assert.equal(readShardSize("as-base"), "as-base");
    assert.equal(readShardSize("5 GB"), 5e9);
    assert.equal(readShardSize("512MiB"), 512 * 2 ** 20);
    assert.equal(readShardSize("much"), undefined);
    assert.equal(writeShardSize(5e9), "5 GB");
    assert.equal(readShardSize(writeShardSize(1_234_567)), 1_234_567);
  });
});

describe("dataOf()", () => {
  const encode = (text: string) => new TextEncoder().encode(text);
  async function read(chunks: readonly Uint8Array[]): Promise<string[]> {
    const stream = new ReadableStream<Uint8Array>({
      start(controller) {
        for (const chunk of chunks) controller.enqueue(chunk);
        controller.close();
      },
    });
    const all: string[] = [];
    for await (const data of dataOf(stream)) all.push(data);
    return all;
  }

  test("gives the data of each event, however the bytes are cut", async () => {
    const bytes = encode(
      ': still here\n\ndata: {"ä": 1}\n\ndata:two\ndata: lines\r\n\r\nid: 3\n\ndata: [DONE]\n\n',
    );
    const wanted = ['{"ä": 1}', "two\nlines", "[DONE]"];
    for (let cut = 0; cut <= bytes.length; cut++)
      assert.deepEqual(await read([bytes.slice(0, cut), bytes.slice(cut)]), wanted, `cut at ${cut}`);
    assert.deepEqual(await read([...bytes].map((byte) => Uint8Array.of(byte))), wanted);
  });
});

describe("pictures", () => {
  test("squarify() fills the area with tiles in proportion, none on another", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 1000 }), { maxLength: 12 }), (sizes) => {
        const [width, height] = [640, 280];
        const tiles = squarify(sizes, width, height);
        const total = sizes.reduce((sum, size) => sum + size, 0);
        assert.equal(tiles.length, sizes.filter((size) => size > 0).length);
        for (const { index, x, y, width: w, height: h } of tiles) {
          assert.ok(Math.abs((w * h) / (width * height) - sizes[index]! / total) < 1e-9);
          assert.ok(x >= -1e-6 && y >= -1e-6 && x + w <= width + 1e-6 && y + h <= height + 1e-6);
        }
        for (const [at, a] of tiles.entries())
          for (const b of tiles.slice(at + 1)) {
            const wide = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x);
            const high = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y);
            assert.ok(wide < 1e-6 || high < 1e-6);
          }
      }),
    );
  });

  test("colourScale() goes from the least to the largest, by logarithms beyond a factor of 8", () => {
    const scale = colourScale([0, 0.001, 0.1, Number.POSITIVE_INFINITY])!;
    assert.equal(scale.isLogarithmic, true);
    assert.deepEqual([scale.shareOf(0.001), scale.shareOf(0.1)], [0, 1]);
    assert.ok(Math.abs(scale.shareOf(0.01) - 0.5) < 1e-9);
    assert.equal(scale.shareOf(Number.POSITIVE_INFINITY), 1);
    assert.equal(colourScale([0, 0]), undefined);
    assert.equal(colourScale([0.5])!.shareOf(0.5), 0.5);
  });

  test("colourAt() rises in lightness all along", () => {
    const lightness = (share: number) => {
      const [red, green, blue] = colourAt(share).map((channel) => (channel / 255) ** 2.2) as [
        number,
        number,
        number,
      ];
      return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    for (let step = 1; step <= 64; step++) assert.ok(lightness(step / 64) > lightness((step - 1) / 64));
  });
});

describe("words and numbers", () => {
  test("format…() say sizes, shares, times and distances", () => {
    assert.deepEqual([0, 999, 1000, 2_879_456, 685e9].map(formatBytes), [
      "0 B",
      "999 B",
      "1.00 kB",
      "2.88 MB",
      "685 GB",
    ]);
    assert.deepEqual([0, 1e-5, 0.123, 0.99999, 1].map(formatShare), [
      "0 %",
      "under 0.1 %",
      "12.3 %",
      "over 99.9 %",
      "100 %",
    ]);
    assert.deepEqual([0.01, 3.21, 59.6, 200, 7500].map(formatSeconds), [
      "under 0.1 s",
      "3.2 s",
      "1 min",
      "3 min 20 s",
      "2 h 5 min",
    ]);
    assert.deepEqual([0, 0.00212, 4.56e-5, null].map(formatDistance), ["0", "0.00212", "4.56e-5", "∞"]);
  });

  test("rateOf() goes by what was done lately, and begins anew when a build does", () => {
    let samples: Sample[] = [];
    assert.equal(rateOf(samples), undefined);
    for (let seconds = 0; seconds <= 30; seconds++)
      samples = addSample(samples, { seconds, bytes: seconds <= 15 ? 100 * seconds : 1500 + seconds - 15 });
    assert.equal(rateOf(samples), 1);
    samples = addSample(samples, { seconds: 0.5, bytes: 0 });
    assert.equal(rateOf(samples), undefined);
  });

  test("highlightLine() keeps every character", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const line = text.replaceAll("\n", "");
        assert.equal(
          highlightLine(line)
            .map((span) => span.text)
            .join(""),
          line,
        );
      }),
    );
    assert.deepEqual(
      highlightLine('- tensors: "a" # 1').map(({ kind, text }) => [kind, text]),
      [
        ["plain", "- "],
        ["key", "tensors"],
        ["plain", ": "],
        ["string", '"a"'],
        ["plain", " "],
        ["comment", "# 1"],
      ],
    );
  });
});
