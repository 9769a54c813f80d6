/** The sampler: each filter, their order, and that draws follow the distribution. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { DRAW, uniform } from "../../src/runtime/counter-random.ts";
import { probabilityOf } from "../../src/runtime/distribution.ts";
import { Sampler, type SamplerOptions } from "../../src/runtime/sampler.ts";
import { chiSquare, chiSquareLimit } from "./chi-square.ts";

const at = (position: number, history: number[] = []) => ({ position, history });

/** model.md section 9 word for word: everything sorted, everything in double. */
function reference(logits: Float32Array, options: SamplerOptions): Map<number, number> {
  const { temperature = 1, topK = 0, topP = 1, minP = 0 } = options;
  let rest = [...logits.entries()]
    .filter(([, logit]) => logit > -Infinity)
    .sort(([a, x], [b, y]) => y - x || a - b);
  const largest = rest[0]![1];
  if (topK > 0) rest = rest.slice(0, topK);
  let weights = rest.map(([id, logit]): [number, number] => [id, Math.exp((logit - largest) / temperature)]);
  if (topP < 1) {
    const total = weights.reduce((sum, [, weight]) => sum + weight, 0);
    let sum = 0;
    weights = weights.filter(([, weight]) => {
      const isNeeded = sum < topP * total;
      sum += weight;
      return isNeeded;
    });
  }
  weights = weights.filter(([, weight]) => weight >= minP);
  const total = weights.reduce((sum, [, weight]) => sum + weight, 0);
  return new Map(
    weights.map(([id, weight]): [number, number] => [id, weight / total]).sort(([a], [b]) => a - b),
  );
}

function checkDistribution(logits: Float32Array, options: SamplerOptions): void {
  const { ids, probabilities } = new Sampler(options).distribution(logits, at(0));
  const expected = reference(logits, options);
  assert.deepEqual([...ids], [...expected.keys()]);
  for (const [index, id] of ids.entries()) {
    const difference = Math.abs(probabilities[index]! - expected.get(id)!);
    assert.ok(difference <= 1e-12, `id ${id}: ${probabilities[index]} against ${expected.get(id)}`);
  }
}

const normal = (seed: number, index: number) => {
  const [a, b] = [uniform(seed, index, DRAW.token), uniform(seed, index, DRAW.accept)];
  return Math.sqrt(-2 * Math.log(1 - a)) * Math.cos(2 * Math.PI * b);
};
const normals = (length: number, scale: number, seed = 1) =>
  Float32Array.from({ length }, (_, index) => scale * normal(seed, index));

const OPTIONS: SamplerOptions[] = [
  {},
  { temperature: 0.6 },
  { topK: 1 },
  { topK: 40 },
  { topK: 5000 },
  { topP: 0.95 },
  { topP: 0.01 },
  { minP: 0.05 },
  { temperature: 0.6, topP: 0.95 },
  { temperature: 2, topK: 50, topP: 0.9, minP: 0.02 },
];

for (const options of OPTIONS) {
  test(`distribution() is the definition's, with ${JSON.stringify(options)}`, () => {
    for (const scale of [0.01, 1, 5, 100]) {
      checkDistribution(normals(3000, scale), options);
      // Many ties, at the border too.
      checkDistribution(
        normals(3000, scale).map((x) => Math.round(x / scale) * scale),
        options,
      );
    }
    checkDistribution(new Float32Array(1000), options);
    checkDistribution(normals(12_000, 1), options); // more than are looked at without the exact sum
  });
}

test("distribution() is the definition's, for any logits and options", () => {
  const logit = fc.oneof(
    fc.integer({ min: -4, max: 4 }),
    fc.float({ noNaN: true, min: -50, max: 50 }),
    fc.constant(-Infinity),
  );
  const options = fc.record({
    temperature: fc.constantFrom(0.1, 0.7, 1, 3),
    topK: fc.constantFrom(0, 1, 2, 7, 100),
    topP: fc.constantFrom(0.05, 0.33, 0.9, 0.999, 1),
    minP: fc.constantFrom(0, 0.003, 0.3, 1),
  });
  fc.assert(
    fc.property(fc.array(logit, { minLength: 1, maxLength: 60 }), options, (values, chosen) => {
      fc.pre(values.some((value) => value > -Infinity));
      checkDistribution(Float32Array.from(values), chosen);
    }),
    { seed: 5, numRuns: 3000 },
  );
});

test("top-p takes the token that reaches the sum, and works on the renormalised top-k", () => {
  const logits = Float32Array.from([0.5, 0.3, 0.15, 0.05].map(Math.log));
  const ids = (options: SamplerOptions) => [...new Sampler(options).distribution(logits, at(0)).ids];
  assert.deepEqual(ids({ topP: 0.7 }), [0, 1]);
  assert.deepEqual(ids({ topP: 0.85 }), [0, 1, 2]);
  assert.deepEqual(ids({ topK: 2, topP: 0.6 }), [0]); // 0.5 of 0.8
  assert.deepEqual(ids({ topP: 0.97, minP: 0.35 }), [0, 1]);
});

test("temperature 0 is the largest logit, the lowest id on ties", () => {
  const logits = Float32Array.of(1, 7, 3, 7, -Infinity);
  const sampler = new Sampler({ temperature: 0, topK: 2, topP: 0.5 });
  assert.ok(sampler.isGreedy);
  assert.equal(sampler.sample(logits, at(0)), 1);
  assert.deepEqual(sampler.distribution(logits, at(0)), {
    ids: Uint32Array.of(1),
    probabilities: Float64Array.of(1),
  });
});

test("masked ids never come, and the caller's logits stay as they are", () => {
  const logits = Float32Array.of(5, 9, 9, 1);
  assert.equal(new Sampler({ temperature: 0, maskedIds: [1, 2, 700] }).sample(logits, at(0)), 0);
  assert.deepEqual([...new Sampler({ maskedIds: [1, 2] }).distribution(logits, at(0)).ids], [0, 3]);
  assert.deepEqual([...logits], [5, 9, 9, 1]);
});

test("the repeat penalty divides positive logits and multiplies negative ones, once, in its window", () => {
  const logits = Float32Array.of(4, -1, 3, 0);
  const penalised = (history: number[], options: SamplerOptions = {}) => {
    const sampler = new Sampler({ repeatPenalty: 2, ...options });
    const distribution = sampler.distribution(logits, at(0, history));
    const zero = Math.log(probabilityOf(distribution, 3));
    return [0, 1, 2].map((id) => Number((Math.log(probabilityOf(distribution, id)) - zero).toFixed(6)));
  };
  assert.deepEqual(penalised([]), [4, -1, 3]);
  assert.deepEqual(penalised([0, 1, 0, 3, 99]), [2, -2, 3]);
  assert.deepEqual(penalised([0, 1, 2], { repeatWindow: 1 }), [4, -1, 1.5]);
  const greedy = new Sampler({ temperature: 0, repeatPenalty: 2 });
  assert.equal(greedy.sample(logits, { position: 1, history: Uint32Array.of(0) }), 2);
});

test("no repeat penalty makes a logit infinite, and none hides one that is", () => {
  const logits = Float32Array.of(4, -1, 3, 0);
  for (const repeatPenalty of [1e-300, 1e300]) {
    const sample = (temperature: number) =>
      new Sampler({ repeatPenalty, temperature, seed: 1 }).sample(logits, at(0, [0, 1]));
    const wanted = repeatPenalty < 1 ? 0 : 2;
    assert.deepEqual([sample(0), sample(0.1)], [wanted, wanted]);
  }
  const broken = Float32Array.of(1, Number.POSITIVE_INFINITY);
  assert.throws(
    () => new Sampler({ repeatPenalty: 2 }).sample(broken, at(0, [1])),
    /logit of id 1 is Infinity/,
  );
});

test("a token depends on seed and position, not on what was drawn before", () => {
  const logits = normals(50, 1);
  const tokens = (seed: number, positions: number[]) => {
    const sampler = new Sampler({ seed });
    return positions.map((position) => sampler.sample(logits, at(position)));
  };
  const positions = Array.from({ length: 50 }, (_, position) => position);
  const all = tokens(7, positions);
  assert.deepEqual(tokens(7, positions.slice(20)), all.slice(20));
  assert.notDeepEqual(tokens(8, positions), all);
});

test("without a seed each sampler has its own, and tells it", () => {
  const [first, second] = [new Sampler(), new Sampler()];
  assert.notEqual(first.seed, second.seed);
  const logits = normals(1000, 1);
  assert.equal(new Sampler({ seed: first.seed }).sample(logits, at(3)), first.sample(logits, at(3)));
});

test("sample() draws from distribution() (chi-square, 50,000 draws)", () => {
  const logits = normals(40, 1.5);
  const sampler = new Sampler({ seed: 11, temperature: 0.8, topK: 30, topP: 0.97 });
  const { ids, probabilities } = sampler.distribution(logits, at(0));
  const counts = new Uint32Array(ids.length);
  for (let position = 0; position < 50_000; position++)
    counts[ids.indexOf(sampler.sample(logits, at(position)))]!++;
  assert.ok(chiSquare(counts, probabilities) < chiSquareLimit(ids.length - 1));
});

test("logits that are no numbers are refused with their id", () => {
  for (const options of [{}, { temperature: 0 }]) {
    const sample = (...logits: number[]) => new Sampler(options).sample(Float32Array.from(logits), at(0));
    assert.throws(() => sample(1, NaN, 2), /Cannot sample: the logit of id 1 is NaN, wanted a finite number/);
    assert.throws(() => sample(NaN), RangeError);
    assert.throws(() => sample(1, 2, Infinity), /the logit of id 2 is Infinity/);
    assert.throws(() => sample(-Infinity), /no id has a finite logit/);
    assert.throws(() => sample(), /no id has a finite logit/);
  }
});

test("options out of their range are refused", () => {
  const cases: SamplerOptions[] = [
    { temperature: -1 },
    { temperature: NaN },
    { topK: 1.5 },
    { topP: 0 },
    { topP: 1.01 },
    { minP: -0.1 },
    { repeatPenalty: 0 },
    { repeatWindow: -1 },
    { seed: 0.5 },
  ];
  for (const options of cases) {
    const [name] = Object.keys(options);
    assert.throws(() => new Sampler(options), new RegExp(`Cannot sample with ${name} `));
  }
});

test("temperatures near 0 and without end of size work", () => {
  const logits = Float32Array.of(1, 2, 1.999, -3e38);
  assert.equal(new Sampler({ temperature: 1e-300 }).sample(logits, at(0)), 1);
  assert.equal(new Sampler({ temperature: 5e-324, topP: 0.5 }).sample(logits, at(0)), 1);
  const { probabilities } = new Sampler({ temperature: 1e300 }).distribution(logits, at(0));
  for (const probability of probabilities) assert.ok(Math.abs(probability - 0.25) < 1e-12);
});
