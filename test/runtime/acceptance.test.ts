import assert from "node:assert/strict";
import { test } from "node:test";
import { acceptanceRate, judgeDraft, residualOf } from "../../src/runtime/acceptance.ts";
import { DRAW, uniform } from "../../src/runtime/counter-random.ts";
import { drawFrom, oneHot, type SparseDistribution } from "../../src/runtime/distribution.ts";
import { Sampler } from "../../src/runtime/sampler.ts";
import { chiSquare, chiSquareLimit } from "./chi-square.ts";

/** Ids from 0; those of probability 0 are left out. */
function distribution(...probabilities: number[]): SparseDistribution {
  const ids = [...probabilities.keys()].filter((id) => probabilities[id]! > 0);
  return { ids: Uint32Array.from(ids), probabilities: Float64Array.from(ids, (id) => probabilities[id]!) };
}

function near(actual: ArrayLike<number>, expected: readonly number[]): void {
  assert.equal(actual.length, expected.length);
  for (const [at, value] of expected.entries())
    assert.ok(Math.abs(actual[at]! - value) < 1e-12, `${actual[at]}`);
}

const P = distribution(0.5, 0.3, 0.2);
const Q = distribution(0.2, 0.7, 0.1);

test("the vector of model.md section 10.3", () => {
  const isAccepted = (draft: number, accept: number) =>
    judgeDraft(draft, P, { q: Q, accept, residual: 0 }).accepted;
  assert.ok(isAccepted(0, 0.999999) && isAccepted(2, 0.999999));
  assert.ok(isAccepted(1, 0.428571) && !isAccepted(1, 0.428572));
  near([acceptanceRate(P, Q)], [0.6]);
  near(residualOf(P, Q).probabilities, [0.75, 0, 0.25]);
  assert.deepEqual(judgeDraft(1, P, { q: Q, accept: 0.5, residual: 0.74 }), { accepted: false, id: 0 });
  assert.deepEqual(judgeDraft(1, P, { q: Q, accept: 0.5, residual: 0.76 }), { accepted: false, id: 2 });
});

test("a draft by argmax stands with probability p; else the rest of p, renormalised", () => {
  const judge = (accept: number, residual: number) => judgeDraft(1, P, { accept, residual });
  assert.deepEqual(judge(0.29, 0), { accepted: true, id: 1 });
  assert.deepEqual(judge(0.3, 0.7), { accepted: false, id: 0 });
  assert.deepEqual(judge(0.3, 0.72), { accepted: false, id: 2 });
  near(residualOf(P, oneHot(1)).probabilities, [5 / 7, 0, 2 / 7]);
  near([acceptanceRate(P, oneHot(1))], [0.3]);
});

test("greedy: the draft stands when it is the argmax, else the argmax comes", () => {
  for (const accept of [0, 0.5, 1 - 2 ** -53]) {
    for (const q of [undefined, Q]) {
      const options = { accept, residual: 0.5, ...(q ? { q } : {}) };
      assert.deepEqual(judgeDraft(1, oneHot(1), options), { accepted: true, id: 1 });
      assert.deepEqual(judgeDraft(0, oneHot(1), options), { accepted: false, id: 1 });
    }
  }
});

test("a draft outside of p is rejected; p = q accepts always", () => {
  assert.deepEqual(judgeDraft(9, P, { accept: 0, residual: 0 }), { accepted: false, id: 0 });
  for (const draft of [0, 1, 2]) {
    assert.ok(judgeDraft(draft, P, { q: P, accept: 1 - 2 ** -53, residual: 0 }).accepted);
  }
  near(residualOf(P, P).probabilities, [0.5, 0.3, 0.2]);
});

test("a draft that q could not have drawn is refused", () => {
  assert.throws(
    () => judgeDraft(5, P, { q: Q, accept: 0, residual: 0 }),
    /Cannot judge draft 5: q gives it no/,
  );
});

const PAIRS: [what: string, p: SparseDistribution, q: SparseDistribution][] = [
  ["the vector", P, Q],
  ["no id in common", distribution(0.4, 0.6, 0, 0), distribution(0, 0, 0.5, 0.5)],
  ["p within q", distribution(0, 0.7, 0.3, 0), distribution(0.3, 0.1, 0.2, 0.4)],
  ["q within p", distribution(0.3, 0.1, 0.2, 0.4), distribution(0, 0.7, 0.3, 0)],
  ["p = q", P, P],
];

/** Draft from q, judge, and count what comes out. */
function emitted(
  p: SparseDistribution,
  q: SparseDistribution,
  isOneHot: boolean,
): { counts: number[]; accepted: number } {
  const counts = Array.from({ length: 4 }, () => 0);
  let accepted = 0;
  for (let position = 0; position < 40_000; position++) {
    const at = (draw: (typeof DRAW)[keyof typeof DRAW]) => uniform(3, position, draw);
    const draft = drawFrom(q, at(DRAW.draft));
    const options = { accept: at(DRAW.accept), residual: at(DRAW.residual), ...(isOneHot ? {} : { q }) };
    const verdict = judgeDraft(draft, p, options);
    counts[verdict.id]!++;
    if (verdict.accepted) accepted++;
  }
  return { counts, accepted };
}

for (const [what, p, q] of PAIRS) {
  test(`what comes out is distributed as p (chi-square): ${what}`, () => {
    const expected = new Float64Array(4);
    for (const [at, id] of p.ids.entries()) expected[id] = p.probabilities[at]!;
    const drawn = emitted(p, q, false);
    assert.ok(chiSquare(drawn.counts, expected) < chiSquareLimit(p.ids.length - 1));
    const rate = acceptanceRate(p, q);
    assert.ok(Math.abs(drawn.accepted / 40_000 - rate) < 4 * Math.sqrt(0.25 / 40_000), `${drawn.accepted}`);
    // Whatever chose it, a draft that is judged as if by argmax leaves p too.
    assert.ok(chiSquare(emitted(p, q, true).counts, expected) < chiSquareLimit(p.ids.length - 1));
  });
}

test("it works on a sampler's distributions", () => {
  const main = new Sampler({ seed: 5, topK: 20, topP: 0.9 });
  const logits = (shift: number) =>
    Float32Array.from({ length: 64 }, (_, id) => 2 * Math.sin(id * 1.7 + shift));
  const context = { position: 9 };
  const p = main.distribution(logits(0), context);
  const q = main.distribution(logits(0.3), context);
  const draft = main.draw(q, 9, DRAW.draft);
  const numbers = { accept: main.uniform(9, DRAW.accept), residual: main.uniform(9, DRAW.residual) };
  const verdict = judgeDraft(draft, p, { q, ...numbers });
  assert.ok(p.ids.includes(verdict.id));
  assert.deepEqual(judgeDraft(draft, p, { q, ...numbers }), verdict);
});
