import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { acquireLock, type Lock, readLocks, removeTaskLocks } from "../../src/checkpoint/lock.ts";
import { processStart } from "../../src/checkpoint/node.ts";
import type { OutputStore } from "../../src/checkpoint/source.ts";
import { openOutput } from "../../src/checkpoint/stores.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const ends: (() => void)[] = [];
after(() => {
  for (const end of ends) end();
});
const folder = temporaryFolder({ after: (end) => ends.push(end) });
/** Of a process that has ended. */
let deadPid = 0;
before(() => {
  deadPid = spawnSync(process.execPath, ["-e", ""]).pid;
});

let count = 0;
async function target(): Promise<OutputStore & { state: string }> {
  const location = join(folder, `child-${++count}`);
  const store = openOutput(location);
  await store.prepare();
  return Object.assign(store, { state: join(location, ".chimera") });
}

const ALL = { from: 0, to: 5 };
const NAME = "lock-000000-000005.json";

function owner(changes: object): string {
  const mine = {
    host: hostname(),
    pid: process.pid,
    started: processStart(process.pid),
    token: "1-x",
    ...ALL,
  };
  return `${JSON.stringify({ ...mine, ...changes })}\n`;
}

const locksIn = (state: string) => readdirSync(state).filter((name) => name.startsWith("lock-"));

describe("acquireLock()", () => {
  test("is held by one, and can be had again when it was released", async () => {
    const store = await target();
    const lock = await acquireLock(store, ALL);
    assert.deepEqual(locksIn(store.state), [NAME]);
    await assert.rejects(acquireLock(store, ALL), {
      code: "locked",
      message: `Cannot build in "${store.location}": process ${process.pid} on ${hostname()} is building there`,
      note: /remove .+\/\.chimera\/lock-/,
    });
    await lock.release();
    assert.deepEqual(locksIn(store.state), []);
    await (await acquireLock(store, ALL)).release();
    await lock.release(); // twice is no harm
  });

  test("parts that share no shard are held side by side; what overlaps is not", async () => {
    const store = await target();
    const first = await acquireLock(store, { from: 0, to: 2 });
    const second = await acquireLock(store, { from: 2, to: 4 });
    for (const range of [ALL, { from: 1, to: 2 }, { from: 3, to: 5 }, { from: 0, to: 2 }]) {
      await assert.rejects(acquireLock(store, range), { code: "locked" });
    }
    assert.equal(locksIn(store.state).length, 2, "a refused one left its lock");
    const third = await acquireLock(store, { from: 4, to: 5 });
    for (const lock of [first, second, third]) await lock.release();
    await acquireLock(store, ALL);
  });

  test("parts without a shard are in nobody's way", async () => {
    const store = await target();
    const all = await acquireLock(store, ALL);
    const none = await Promise.all([0, 0, 5, 3].map((n) => acquireLock(store, { from: n, to: n })));
    for (const lock of none) await lock.release();
    await all.release();
  });

  const stale: Record<string, () => string> = {
    "of a process that has ended": () => owner({ pid: deadPid, started: "boot/1" }),
    "of a process whose number another has now": () => owner({ started: "another-boot/1" }),
    "that is cut off": () => owner({}).slice(0, 30),
    "that is empty": () => "",
    "that is null": () => "null",
    "of no process": () => owner({ pid: "x" }),
  };
  for (const [name, text] of Object.entries(stale)) {
    test(`a lock ${name} is taken over`, async () => {
      const store = await target();
      writeFileSync(join(store.state, NAME), text());
      const lock = await acquireLock(store, ALL);
      assert.equal(JSON.parse(readFileSync(join(store.state, NAME), "utf8")).pid, process.pid);
      await lock.release();
      // One over another range, too.
      writeFileSync(
        join(store.state, "lock-000001-000003.json"),
        text().replace('"from":0,"to":5', '"from":1,"to":3'),
      );
      await (await acquireLock(store, ALL)).release();
    });
  }

  test("a lock of another host is respected: it cannot be asked", async () => {
    const store = await target();
    for (const name of [NAME, "lock-000001-000003.json"]) {
      writeFileSync(join(store.state, name), owner({ host: "elsewhere", pid: 1, started: "x/1" }));
      await assert.rejects(acquireLock(store, ALL), {
        code: "locked",
        message: /process 1 on elsewhere is building there/,
      });
      assert.deepEqual(locksIn(store.state), [name]);
      await store.remove(`.chimera/${name}`);
    }
  });

  test("a lock of another host is taken over by the same task of a scheduler, and by no other", async (t) => {
    const store = await target();
    t.after(() => delete process.env.CHIMERA_TASK);
    const held = { host: "elsewhere", pid: 1, started: "x/1", task: "slurm/c/12_3" };
    for (const name of [NAME, "lock-000001-000003.json"]) {
      writeFileSync(
        join(store.state, name),
        owner({ ...held, token: `1-${name.length}${name.slice(9, 12)}` }),
      );
      for (const task of [undefined, "slurm/c/12_4", ""]) {
        if (task === undefined) delete process.env.CHIMERA_TASK;
        else process.env.CHIMERA_TASK = task;
        await assert.rejects(acquireLock(store, ALL), { code: "locked" });
      }
      process.env.CHIMERA_TASK = "slurm/c/12_3";
      const lock = await acquireLock(store, ALL);
      assert.equal(JSON.parse(readFileSync(join(store.state, NAME), "utf8")).task, "slurm/c/12_3");
      await lock.release();
      assert.deepEqual(locksIn(store.state), []);
    }
    // On this host the process itself says whether it lives.
    writeFileSync(join(store.state, NAME), owner({ task: "slurm/c/12_3" }));
    await assert.rejects(acquireLock(store, ALL), { code: "locked" });
  });

  test("readLocks() tells who is at work, removeTaskLocks() removes those of tasks that are over", async () => {
    const store = await target();
    const put = (from: number, changes: object) =>
      writeFileSync(
        join(store.state, `lock-00000${from}-00000${from + 1}.json`),
        owner({ from, to: from + 1, ...changes }),
      );
    put(0, {});
    put(1, { pid: deadPid, started: "boot/1", task: "slurm/c/12_1" });
    put(2, { host: "elsewhere", task: "slurm/c/13_2" });
    const locks = await readLocks(store);
    assert.deepEqual(
      locks.map(({ from, state, task }) => [from, state, task]),
      [
        [0, "alive", undefined],
        [1, "dead", "slurm/c/12_1"],
        [2, "elsewhere", "slurm/c/13_2"],
      ],
    );
    assert.equal(await removeTaskLocks(store, (task) => task.startsWith("slurm/c/13_")), 1);
    assert.deepEqual(
      (await readLocks(store)).map(({ from }) => from),
      [0, 1],
    );
  });

  test("a lock of a living process is respected also where its start is not known", async () => {
    const store = await target();
    writeFileSync(join(store.state, NAME), owner({ started: "" }));
    await assert.rejects(acquireLock(store, ALL), { code: "locked" });
  });

  test("of many that find a dead lock at once, one gets it", async () => {
    for (let round = 0; round < 10; round++) {
      const store = await target();
      writeFileSync(
        join(store.state, NAME),
        owner({ pid: deadPid, started: "boot/1", token: `dead-${round}` }),
      );
      const tries = await Promise.allSettled(Array.from({ length: 8 }, () => acquireLock(store, ALL)));
      const held = tries.filter(({ status }) => status === "fulfilled") as PromiseFulfilledResult<Lock>[];
      assert.equal(held.length, 1);
      assert.deepEqual(locksIn(store.state), [NAME]);
      await held[0]!.value.release();
      assert.deepEqual(locksIn(store.state), []);
    }
  });

  test("one that found the lock dead and was slow does not remove its successor's", async () => {
    const store = await target();
    writeFileSync(join(store.state, NAME), owner({ pid: deadPid, started: "boot/1", token: "dead" }));
    // The slow one has read the dead lock; before it goes on, another takes the lock over.
    let successor: Lock | undefined;
    let isFirstRead = true;
    const slow = Object.assign(Object.create(store) as OutputStore, {
      async readSmall(name: string) {
        const bytes = await store.readSmall(name);
        if (isFirstRead && name.endsWith(NAME)) {
          isFirstRead = false;
          successor = await acquireLock(store, ALL);
        }
        return bytes;
      },
    });
    await assert.rejects(acquireLock(slow, ALL), { code: "locked" });
    const { token } = JSON.parse(readFileSync(join(store.state, NAME), "utf8"));
    assert.match(token, new RegExp(`^${process.pid}-`));
    await successor!.release();
    assert.deepEqual(locksIn(store.state), []);
  });

  test("a remover that died before it removed the dead lock stops nobody", async () => {
    const store = await target();
    writeFileSync(join(store.state, NAME), owner({ pid: deadPid, started: "boot/1", token: "dead" }));
    writeFileSync(
      join(store.state, "dead-dead.json"),
      owner({ pid: deadPid, started: "boot/1", token: "dead-too" }),
    );
    await (await acquireLock(store, ALL)).release();
  });

  test("a released lock does not remove that of another", async () => {
    const store = await target();
    const lock = await acquireLock(store, ALL);
    writeFileSync(join(store.state, NAME), owner({ host: "elsewhere" }));
    await lock.release();
    assert.deepEqual(locksIn(store.state), [NAME]);
    await store.removeState();
    mkdirSync(store.state, { recursive: true });
    await lock.release();
  });
});
