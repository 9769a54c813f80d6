import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { PendingWrites, readAhead } from "../../src/logical/read-ahead.ts";

const tick = () => new Promise<void>((resolve) => setTimeout(resolve, 1));

describe("readAhead()", () => {
  test("loads one item ahead, in turn, and never a slot that is in use", async () => {
    const log: string[] = [];
    const load = async (item: number, slot: 0 | 1) => {
      log.push(`load ${item} into ${slot}`);
      await tick();
      return item * 10;
    };
    for await (const { item, loaded, slot } of readAhead([1, 2, 3], load)) {
      log.push(`use ${item} from ${slot}`);
      assert.equal(loaded, item * 10);
      await tick();
      log.push(`used ${item}`);
    }
    assert.deepEqual(log, [
      ...["load 1 into 0", "load 2 into 1", "use 1 from 0", "used 1"],
      ...["load 3 into 0", "use 2 from 1", "used 2", "use 3 from 0", "used 3"],
    ]);
  });

  test("nothing for nothing", async () => {
    for await (const _ of readAhead([], async () => assert.fail("loaded"))) assert.fail("yielded");
  });

  test("passes on a failed load when its turn comes", async () => {
    const used: number[] = [];
    const load = async (item: number) => {
      if (item === 2) throw new Error("bad disk");
      return item;
    };
    const all = async () => {
      for await (const { item } of readAhead([1, 2, 3], load)) used.push(item);
    };
    await assert.rejects(all(), { message: "bad disk" });
    assert.deepEqual(used, [1]);
  });

  test("waits for the load under way when its user leaves early", async () => {
    let isLoading = false;
    const load = async () => {
      isLoading = true;
      await tick();
      isLoading = false;
    };
    await assert.rejects(
      async () => {
        for await (const _ of readAhead([1, 2, 3], load)) throw new Error("enough");
      },
      { message: "enough" },
    );
    assert.equal(isLoading, false);
  });
});

describe("PendingWrites", () => {
  test("free() waits for the last write of its slot and throws what it threw, once", async () => {
    const writes = new PendingWrites();
    let isDone = false;
    writes.add(
      0,
      tick().then(() => {
        isDone = true;
      }),
    );
    await writes.free(1);
    assert.equal(isDone, false);
    await writes.free(0);
    assert.equal(isDone, true);
    writes.add(1, Promise.reject(new Error("full")));
    await assert.rejects(writes.all(), { message: "full" });
    await writes.settle();
  });
});
