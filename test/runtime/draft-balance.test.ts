/** Whether drafts pay: decided from the times of steps with and without. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { DraftBalance } from "../../src/runtime/draft-balance.ts";

/** Steps until it is decided; returns how many, and the verdict. */
function decide({ drafted, plain, kept }: { drafted: number; plain: number; kept: number }) {
  const balance = new DraftBalance();
  let [steps, draftedSteps] = [0, 0];
  while (balance.pays === undefined) {
    const isDrafted = balance.triesDraft;
    // One step in eight takes ten times as long: something else ran.
    const seconds = (isDrafted ? drafted : plain) * (steps % 8 === 3 ? 10 : 1);
    if (isDrafted) draftedSteps++;
    const isKept = isDrafted && Math.floor(draftedSteps * kept) > Math.floor((draftedSteps - 1) * kept);
    balance.add({ seconds, isDrafted, isKept });
    assert.ok(++steps < 100);
  }
  return { steps, pays: balance.pays, tries: balance.triesDraft };
}

test("drafts go on where they are quicker, and end where they are not", () => {
  assert.deepEqual(decide({ drafted: 1.4, plain: 1, kept: 0.8 }), { steps: 15, pays: true, tries: true });
  assert.deepEqual(decide({ drafted: 1.9, plain: 1, kept: 0.8 }), { steps: 15, pays: false, tries: false });
  assert.equal(decide({ drafted: 1.4, plain: 1, kept: 0.2 }).pays, false);
  assert.equal(decide({ drafted: 1.1, plain: 1, kept: 0.2 }).pays, true);
});

test("the verdict stands", () => {
  const balance = new DraftBalance();
  while (balance.pays === undefined)
    balance.add({
      seconds: balance.triesDraft ? 2.5 : 1,
      isDrafted: balance.triesDraft,
      isKept: balance.triesDraft,
    });
  assert.equal(balance.pays, false);
  for (let i = 0; i < 50; i++) balance.add({ seconds: 0.1, isDrafted: true, isKept: true });
  assert.equal(balance.pays, false);
});
