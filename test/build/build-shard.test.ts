/** Shards built in this thread: what is read and written, what is refused, and parents that change meanwhile. */
import assert from "node:assert/strict";
import {
  appendFileSync,
  closeSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { CheckpointError } from "../../src/base/errors.ts";
import { assembleShard } from "../../src/build/assemble-shard.ts";
import { partRange, taskOf } from "../../src/build/build.ts";
import { buildShard } from "../../src/build/build-shard.ts";
import { checkParents, ParentSources } from "../../src/build/sources.ts";
import { beginState } from "../../src/build/state.ts";
import type { Source, Store } from "../../src/checkpoint/source.ts";
import { openOutput, openStore } from "../../src/checkpoint/stores.ts";
import { createKernels } from "../../src/kernels/probe.ts";
import { HEAP_BYTES, Heap } from "../../src/logical/heap.ts";
import type { BuildPlan } from "../../src/plan/plan.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import type { Dtype } from "../../src/tensor/dtype.ts";
import { readShardTensors, shardBytes, type TestTensor, writeCheckpoint } from "../support/safetensors.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import {
  CONFIG,
  changing,
  goldenCases,
  goldenRecipe,
  planOf,
  poke,
  randomFrom,
  smallParent,
  tensor,
} from "./support.ts";

const ends: (() => void)[] = [];
after(() => {
  for (const end of ends) end();
});
const folder = temporaryFolder({ after: (end) => ends.push(end) });
const kernels = createKernels(HEAP_BYTES);

/** Builds one shard as a worker does; `checkpoint` is called between pieces. */
async function makeShard(
  plan: BuildPlan,
  index: number,
  { child, checkpoint, stores }: { child: string; checkpoint?: () => void; stores?: readonly Store[] },
) {
  const target = openOutput(child);
  await beginState(target, plan);
  return buildShard(taskOf(plan, plan.shards[index]!), {
    kernels,
    heap: new Heap(kernels.bytes.length),
    sources: new ParentSources(plan.parents, stores),
    output: plan.output,
    target,
    planDigest: plan.digest,
    ...(checkpoint ? { checkpoint } : {}),
  });
}

/** A store that counts the bytes that are read through it. */
function counting(store: Store): { store: Store; bytes: () => number } {
  let bytes = 0;
  const open = async (name: string): Promise<Source> => {
    const source = await store.open(name);
    const read = source.read.bind(source);
    source.read = (into, offset) => {
      bytes += into.length;
      return read(into, offset);
    };
    return source;
  };
  return {
    store: new Proxy(store, { get: (of, key) => (key === "open" ? open : Reflect.get(of, key)) }),
    bytes: () => bytes,
  };
}

describe("what a plan says of bytes", () => {
  for (const name of goldenCases()) {
    test(`${name}: read from each parent, and written`, async () => {
      const plan = await planRecipe(goldenRecipe(name, { maxShardSize: 100_000 }));
      const stores = plan.parents.map(({ location }) => counting(openStore(location)));
      let written = 0;
      for (const shard of plan.shards) {
        const sources = new ParentSources(
          plan.parents,
          stores.map(({ store }) => store),
        );
        let ofShard = 0;
        await assembleShard(taskOf(plan, shard), {
          kernels,
          heap: new Heap(kernels.bytes.length),
          sources,
          output: plan.output,
          put: async (bytes) => {
            ofShard += bytes.length;
          },
        });
        assert.equal(ofShard, shard.byteLength);
        written += ofShard;
        await sources.close();
      }
      assert.equal(written, plan.totals.writeBytes);
      const actual = stores.map(({ bytes }) => bytes());
      const planned = plan.totals.readBytes;
      const isExact = plan.merges.every(({ test, sumsToOne }) => !test && !sumsToOne);
      if (isExact) assert.deepEqual(actual, planned);
      // A test counts at its most; parents that may be identical are looked at before.
      const twice = plan.merges.flatMap(({ inputs }) => inputs);
      for (const [parent, bytes] of actual.entries()) {
        const looks = twice
          .filter((input) => input.parent === parent)
          .reduce((sum, { byteLength, scale }) => sum + byteLength + (scale?.byteLength ?? 0), 0);
        assert.ok(bytes <= planned[parent]! + 2 * looks, `${bytes} of ${planned[parent]}`);
        assert.ok(bytes > 0 || planned[parent] === 0);
      }
    });
  }
});

describe("partRange()", () => {
  test("parts are contiguous, even, and cover all shards once", async () => {
    const plan = await planRecipe(goldenRecipe("1-routed-copy", { maxShardSize: 60_000 }));
    for (const count of [1, 2, 3, 7, 100]) {
      let next = 0;
      const sizes: number[] = [];
      for (let index = 0; index < count; index++) {
        const { from, to } = partRange(plan, { index, count });
        assert.equal(from, next);
        next = to;
        sizes.push(to - from);
      }
      assert.equal(next, plan.shards.length);
      assert.ok(Math.max(...sizes) - Math.min(...sizes) <= 1);
    }
    for (const part of [
      { index: 3, count: 3 },
      { index: -1, count: 3 },
      { index: 0, count: 0 },
      { index: 0.5, count: 2 },
      { index: NaN, count: 1 },
    ]) {
      assert.throws(() => partRange(plan, part), RangeError);
    }
  });
});

describe("a shard that is copied whole from the base", () => {
  test("is the same file, header and all", async () => {
    const a = smallParent(join(folder, "same-a"), 1);
    const b = smallParent(join(folder, "same-b"), 2);
    const plan = await planOf({
      parents: { a, b },
      rules: "  - tensors: routed-experts\n    weights: { b: 1 }",
    });
    const child = join(folder, "same-child");
    await makeShard(plan, 0, { child });
    await makeShard(plan, 2, { child });
    const [first, , last] = plan.shards.map(({ name }) => name);
    assert.deepEqual(readFileSync(join(child, first!)), readFileSync(join(a, first!)));
    assert.notDeepEqual(readFileSync(join(child, last!)), readFileSync(join(a, last!))); // it holds b's scale
  });
});

describe("values that are not finite are never copied", () => {
  const names = ["w", "n.weight", "o.weight"];
  const cases: [name: string, tensor: string, dtype: Dtype, bits: number, what: RegExp][] = [
    [
      "an FP8 NaN",
      "fp8.weight",
      "F8_E4M3",
      0x7f,
      /element \[1, 5\] of parent "b" in "x.safetensors" is not finite/,
    ],
    ["a negative FP8 NaN", "fp8.weight", "F8_E4M3", 0xff, /element \[1, 5\]/],
    ["an E5M2 infinity", "e5m2.weight", "F8_E5M2", 0xfc, /element \[1, 5\]/],
    ["a BF16 NaN with only low bits", "bf16.weight", "BF16", 0x7f81, /element \[1, 5\]/],
    ["a BF16 infinity", "bf16.weight", "BF16", 0xff80, /element \[1, 5\]/],
    ["an F16 NaN", "f16.weight", "F16", 0x7e01, /element \[1, 5\]/],
    ["an F32 infinity", "f32.weight", "F32", 0x7f800000, /element \[1, 5\]/],
  ];
  for (const [name, of, dtype, bits, message] of cases) {
    for (const odd of [0, 1, 3]) {
      test(`${name}, ${odd} bytes off its alignment`, async () => {
        const random = randomFrom(1);
        const isFp8 = dtype.startsWith("F8");
        const make = (broken: boolean): TestTensor[] => {
          const weight = tensor(of, dtype, [2, 7], { random });
          return [
            tensor("lead", "U8", [odd], { random }),
            broken ? poke(weight, 12, bits) : weight,
            ...(isFp8 ? [tensor(`${of}_scale_inv`, "F32", [1, 1], { random, positive: true })] : []),
            ...names.map((each) => tensor(each, "BF16", [3], { random })),
          ];
        };
        const at = join(folder, `nan-${of}-${bits}-${odd}`);
        const parents = { a: join(at, "a"), b: join(at, "b") };
        writeCheckpoint(parents.a, {
          config: CONFIG,
          shards: [{ name: "x.safetensors", tensors: make(false) }],
        });
        writeCheckpoint(parents.b, {
          config: CONFIG,
          shards: [{ name: "x.safetensors", tensors: make(true) }],
        });
        const plan = await planOf({ parents, rules: "  - tensors: all\n    weights: { b: 1 }" });
        await assert.rejects(makeShard(plan, 0, { child: join(at, "child") }), (error) => {
          assert.ok(error instanceof CheckpointError);
          assert.equal(error.code, "not-finite");
          assert.match(error.message, new RegExp(`^Cannot copy "${of}": `));
          assert.match(error.message, message);
          return true;
        });
        assert.deepEqual(readdirSync(join(at, "child")), [".chimera"]);
        assert.deepEqual(readdirSync(join(at, "child/.chimera")).sort(), ["plan.json", "state.json"]);
      });
    }
  }

  for (const [dtype, bad] of [
    ["F32", { "0": 0, "-0": 0x80000000, "-1": 0xbf800000, NaN: 0x7fc00000, Infinity: 0x7f800000 }],
    ["BF16", { "0": 0, "-0": 0x8000, "-1": 0xbf80, NaN: 0x7fc0, Infinity: 0x7f80 }],
    ["F8_E8M0", { NaN: 0xff }],
  ] as const) {
    for (const [value, bits] of Object.entries(bad)) {
      test(`a ${dtype} scale of ${value}`, async () => {
        const random = randomFrom(2);
        const weight = tensor("w", "F8_E4M3", [300, 2], { random });
        const scale = tensor("w_scale_inv", dtype, [3, 1], { random, positive: true });
        const at = join(folder, `scale-${dtype}-${value}`);
        writeCheckpoint(at, {
          config: CONFIG,
          shards: [{ name: "x.safetensors", tensors: [weight, poke(scale, 2, bits)] }],
        });
        const plan = await planOf({ parents: { a: at } });
        await assert.rejects(
          makeShard(plan, 0, { child: join(folder, `child-${dtype}-${value}`) }),
          (error) => {
            assert.ok(error instanceof CheckpointError);
            assert.match(
              error.message,
              /^Cannot copy "w_scale_inv": element \[2, 0\] of parent "a" in "x.safetensors" is /,
            );
            const shown = { "-0": "0" }[value] ?? value;
            if (Number.isFinite(Number(value)))
              assert.match(error.message, new RegExp(` is ${shown}, wanted a finite scale above 0$`));
            return true;
          },
        );
      });
    }
  }

  test("what is no number of ours is copied unseen", async () => {
    const random = randomFrom(3);
    const tensors = (["F64", "I64", "U8", "F8_E4M3FNUZ", "BOOL"] as const).map((dtype) => {
      const each = tensor(dtype, dtype, [4], { random });
      return { ...each, bytes: new Uint8Array(each.bytes.length).fill(0xff) };
    });
    const at = join(folder, "others");
    writeCheckpoint(at, { config: CONFIG, shards: [{ name: "x.safetensors", tensors }] });
    const child = join(folder, "others-child");
    await makeShard(await planOf({ parents: { a: at } }), 0, { child });
    assert.deepEqual(readFileSync(join(child, "x.safetensors")), readFileSync(join(at, "x.safetensors")));
  });
});

describe("a parent that changes", () => {
  const shard = "model-00001-of-000003.safetensors";
  const rules = "  - tensors: all\n    weights: { b: 0.5 }";
  const changes: Record<string, (path: string) => void> = {
    "is touched": (path) => utimesSync(path, new Date(), new Date(Date.now() + 5000)),
    grows: (path) => appendFileSync(path, "x"),
    "is cut short": (path) => {
      const fd = openSync(path, "r+");
      ftruncateSync(fd, statSync(path).size - 1);
      closeSync(fd);
    },
    "is replaced by one of the same size": (path) => {
      const bytes = readFileSync(path);
      bytes[bytes.length - 1]! ^= 1;
      writeFileSync(`${path}.new`, bytes);
      renameSync(`${path}.new`, path);
    },
    "is replaced by one of the same size and time": (path) => {
      const { atime, mtime } = statSync(path);
      const bytes = readFileSync(path);
      bytes[bytes.length - 1]! ^= 1;
      writeFileSync(`${path}.new`, bytes);
      utimesSync(`${path}.new`, atime, mtime);
      renameSync(`${path}.new`, path);
    },
    "is overwritten in place": (path) => {
      const fd = openSync(path, "r+");
      writeSync(fd, Buffer.from([1]), 0, 1, statSync(path).size - 1);
      closeSync(fd);
    },
  };
  for (const [name, change] of Object.entries(changes)) {
    test(`and ${name}: an error before and while it is read, nothing half-written`, async () => {
      const at = join(folder, `changing-${name}`);
      const a = smallParent(join(at, "a"), 1);
      const b = smallParent(join(at, "b"), 2);
      // Whole milliseconds, which utimes can give back.
      for (const parent of [a, b]) utimesSync(join(parent, shard), new Date(1e12), new Date(1e12));
      const plan = await planOf({ parents: { a, b }, rules });
      const child = join(at, "child");
      let isChanged = false;
      const checkpoint = () => {
        if (!isChanged) change(join(b, shard));
        isChanged = true;
      };
      await assert.rejects(makeShard(plan, 0, { child, checkpoint }), (error) => {
        assert.ok(error instanceof CheckpointError, String(error));
        assert.equal(error.code, "changed");
        return true;
      });
      assert.ok(isChanged);
      assert.deepEqual(readdirSync(child), [".chimera"]);
      assert.deepEqual(readdirSync(join(child, ".chimera")).sort(), ["plan.json", "state.json"]);
      if (name.endsWith("and time")) return; // that one shows only while the file is open
      await assert.rejects(checkParents(plan.parents, [taskOf(plan, plan.shards[0]!)]), {
        code: "changed",
        message: new RegExp(`Cannot read "${shard}" of parent "b"`),
      });
      await checkParents(plan.parents, [taskOf(plan, plan.shards[2]!)]); // which is not made from it
    });
  }

  test("or is gone", async () => {
    const at = join(folder, "gone");
    const a = smallParent(join(at, "a"), 1);
    const b = smallParent(join(at, "b"), 2);
    const plan = await planOf({ parents: { a, b }, rules });
    renameSync(b, join(at, "elsewhere"));
    await assert.rejects(makeShard(plan, 0, { child: join(at, "child") }), { code: "missing" });
    assert.deepEqual(readdirSync(join(at, "child")), [".chimera"]);
  });
});

describe("beyond 4 GiB", () => {
  test("a sparse shard: what lies around and behind the boundary is copied and merged, exact", async () => {
    const random = randomFrom(4);
    // A tensor of zeros that ends a few bytes before 2^32, one across it, an FP8 pair behind it.
    const across = tensor("across.weight", "BF16", [64], { random });
    const pairs = [1, 2].map((seed) => {
      const own = randomFrom(seed);
      return [
        tensor("fp8.weight", "F8_E4M3", [130, 140], { random: own }),
        tensor("fp8.weight_scale_inv", "F32", [2, 2], { random: own, positive: true }),
      ];
    });
    const parents = pairs.map((pair, i) => {
      const at = join(folder, `vast-${i}`);
      writeCheckpoint(at, { config: CONFIG, shards: [] });
      const path = join(at, "model.safetensors");
      const tail: TestTensor[] = [across, ...pair];
      const headerFor = (zeros: number) =>
        headerOf([
          { name: "zeros.weight", dtype: "BF16", shape: [zeros / 2], length: zeros },
          ...tail.map((t) => ({ ...t, length: t.bytes.length })),
        ]);
      const zeros = 2 * Math.floor((2 ** 32 - 64 - headerFor(2 ** 32 - 1000).length) / 2);
      const header = headerFor(zeros);
      const fd = openSync(path, "w");
      writeSync(fd, header, 0, header.length, 0);
      let position = header.length + zeros;
      assert.ok(position < 2 ** 32 && position + across.bytes.length > 2 ** 32);
      for (const { bytes } of tail) {
        writeSync(fd, bytes, 0, bytes.length, position);
        position += bytes.length;
      }
      closeSync(fd);
      return at;
    });
    const [a, b] = parents as [string, string];
    const rules =
      "  - tensors: { name: 'fp8.*' }\n    weights: { b: 0.5 }\n  - tensors: { name: 'across.*' }\n    weights: { b: 1 }";
    const plan = await planOf({ parents: { a, b }, rules });
    const [shard] = plan.shards;
    const made = new Map<string, Uint8Array>();
    let furthest = 0;
    await assembleShard(taskOf(plan, shard!), {
      kernels,
      heap: new Heap(kernels.bytes.length),
      sources: new ParentSources(plan.parents),
      output: plan.output,
      include: ({ name }) => name !== "zeros.weight",
      put: async (bytes, offset, of) => {
        furthest = Math.max(furthest, offset + bytes.length);
        if (of) made.set(`${of.name}@${offset - of.offset}`, bytes.slice());
      },
    });
    assert.equal(furthest, shard!.byteLength);
    assert.ok(furthest > 2 ** 32);
    assert.deepEqual(made.get("across.weight@0"), across.bytes);

    // The same pair in small files gives the same sum.
    const small = pairs.map((pair, i) =>
      writeCheckpoint(join(folder, `near-${i}`), {
        config: CONFIG,
        shards: [{ name: "model.safetensors", tensors: pair }],
      }),
    );
    const near = await planOf({
      parents: { a: small[0]!, b: small[1]! },
      rules: rules.split("\n  - tensors: { name: 'across")[0]!,
    });
    await makeShard(near, 0, { child: join(folder, "near-child") });
    const expected = readShardTensors(readFileSync(join(folder, "near-child/model.safetensors")));
    assert.deepEqual(made.get("fp8.weight@0"), expected.get("fp8.weight")!.bytes);
    assert.deepEqual(made.get("fp8.weight_scale_inv@0"), expected.get("fp8.weight_scale_inv")!.bytes);
  });
});

interface Entry {
  name: string;
  dtype: Dtype;
  shape: number[];
  length: number;
}

/** The header of a file whose tensors are not held in memory. */
function headerOf(entries: readonly Entry[]): Uint8Array {
  let position = 0;
  const parts = entries.map(({ name, dtype, shape, length }) => {
    const from = position;
    position += length;
    return `${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [from, position] })}`;
  });
  const text = `{${parts.join(",")}}`;
  const file = Buffer.alloc(8 + text.length);
  file.writeBigUInt64LE(BigInt(text.length));
  file.write(text, 8);
  return file;
}

test("a shard's header is encoded as the format defines it", async () => {
  const a = smallParent(join(folder, "header"), 1, {
    change: changing("model.norm.weight", (t) => ({ ...t, name: 'naïve "名".weight' })),
  });
  const plan = await planOf({ parents: { a } });
  await makeShard(plan, 2, { child: join(folder, "header-child") });
  const file = readFileSync(join(folder, "header-child", plan.shards[2]!.name));
  const tensors = [...readShardTensors(file)].map(([name, content]) => ({ name, ...content }));
  assert.deepEqual(Uint8Array.from(file), shardBytes(tensors));
});
