/** How logits of a peer are compared with ours. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { differenceOf } from "../../bench/peer/compare.ts";
import { openPeer, type PeerContext } from "../../bench/peer/llama.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

test("openPeer() is undefined where nothing is installed", async () => {
  const before = process.env.CHIMERA_PEER;
  process.env.CHIMERA_PEER = temporaryFolder({ after });
  try {
    assert.equal(await openPeer(), undefined);
  } finally {
    if (before === undefined) delete process.env.CHIMERA_PEER;
    else process.env.CHIMERA_PEER = before;
  }
});

/** A peer that gives these logits, whatever it is asked. */
function giving(logits: number[]): PeerContext {
  return { logits: async () => Float32Array.from(logits) } as unknown as PeerContext;
}

test("differenceOf() equal logits, and logits that differ by a constant", async () => {
  const ours = Float32Array.from([1, 2, 3, 6, 5, 4]);
  for (const shift of [0, 7]) {
    const context = giving([...ours].map((logit) => logit + shift));
    const { relative, divergence, agreement } = await differenceOf(ours, { context, tokens: [0, 0] });
    assert.ok(Math.abs(divergence) < 1e-12, `${divergence}`);
    assert.ok(relative < 1e-12, `${relative}`);
    assert.equal(agreement, 1);
  }
});

test("differenceOf() by hand: a half and a half against a quarter and three", async () => {
  const ours = Float32Array.from([0, 0, 1, -1]);
  const context = giving([Math.log(0.25), Math.log(0.75), 1, -1]);
  const { divergence, agreement } = await differenceOf(ours, { context, tokens: [0, 0] });
  const expected = 0.5 * Math.log(0.5 / 0.25) + 0.5 * Math.log(0.5 / 0.75);
  assert.ok(Math.abs(divergence - expected) < 1e-6, `${divergence}`);
  assert.equal(agreement, 0.5);
});

test("differenceOf() relative error: a tenth more of everything", async () => {
  const { relative } = await differenceOf(Float32Array.from([3, 1]), {
    context: giving([3.1, 0.9]),
    tokens: [0],
  });
  assert.ok(Math.abs(relative - 0.1) < 1e-6, `${relative}`);
});
