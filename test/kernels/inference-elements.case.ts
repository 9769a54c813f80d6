/** Norm, rotation, activation, sums and scans: bits of the reference, and float64 within stated bounds. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { InferenceKernels } from "../../src/kernels/inference.ts";
import { createScalarInference } from "../../src/kernels/inference-scalar.ts";
import { assertSameBits, HeapImage, Random, runBoth } from "./inference-image.ts";

const HEAP_BYTES = 1 << 20;
const LENGTHS = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 63, 64, 65, 127, 128, 129, 576, 1000];

export function elementSuite(name: string, create: (heapBytes: number) => InferenceKernels): void {
  const kernels = create(HEAP_BYTES);
  const scalar = createScalarInference(HEAP_BYTES);
  const near = (actual: number, expected: number, bound: number, label: string) =>
    assert.ok(Math.abs(actual - expected) <= bound, `${label}: ${actual}, wanted ${expected} ± ${bound}`);

  describe(`rmsNorm() on ${name}`, () => {
    test(`rmsNorm() on ${name} has the reference's bits, relative error < 2^-22, also in place`, () => {
      for (const cols of LENGTHS.filter((length) => length > 0)) {
        for (const epsilon of [1e-6, 1e-5, 0.5]) {
          const random = new Random(cols);
          const [count, stride] = [3, cols + 2];
          const [x, w] = [random.floats(count * stride, 10), random.floats(cols)];
          x.fill(0, stride, 2 * stride); // a row of zeros
          for (const inPlace of [false, true]) {
            const image = new HeapImage();
            const weight = image.place(w);
            const rows = { data: inPlace ? image.inOut(x) : image.place(x), count, stride };
            const out = inPlace ? rows : { data: image.inOut(x), count, stride };
            const label = `${cols} columns${inPlace ? " in place" : ""}`;
            const action = (k: InferenceKernels) => k.rmsNorm(rows, weight, cols, epsilon, out);
            const [y] = runBoth(image, kernels, scalar, { label, action });
            for (const [at, actual] of y!.entries()) {
              const [row, col] = [Math.floor(at / stride), at % stride];
              if (col >= cols) {
                assert.equal(actual, x[at], `${label}: wrote between rows`);
                continue;
              }
              const values = x.subarray(row * stride, row * stride + cols);
              const mean = values.reduce((sum, value) => sum + value * value, 0) / cols;
              const expected = (x[at]! / Math.sqrt(mean + epsilon)) * w[col]!;
              near(actual, expected, 2 ** -22 * Math.abs(expected), label);
            }
          }
        }
      }
    });

    test(`rmsNorm() on ${name} sums squares in float64: 1e30 and 1e-30 do not overflow or vanish`, () => {
      for (const size of [1e30, 1e-30]) {
        const image = new HeapImage();
        const rows = { data: image.inOut(new Float32Array(5).fill(size)), count: 1, stride: 5 };
        const weight = image.place(new Float32Array(5).fill(1));
        const action = (k: InferenceKernels) => k.rmsNorm(rows, weight, 5, 0, rows);
        const [y] = runBoth(image, kernels, scalar, { label: `${size}`, action });
        for (const value of y!) near(value, 1, 2e-7, `${size}`);
      }
    });
  });

  describe(`rotate() on ${name}`, () => {
    for (const interleaved of [true, false]) {
      const layout = interleaved ? "interleaved" : "halves";
      test(`rotate() of ${layout} on ${name} has the reference's bits, error < 2^-22 of the pair`, () => {
        for (const pairs of LENGTHS.filter((length) => length < 130)) {
          const random = new Random(pairs);
          const [count, stride] = [3, 2 * pairs + 3];
          const x = random.floats(count * stride);
          const theta = Float64Array.from({ length: pairs }, () => 100 * random.gauss());
          const image = new HeapImage();
          const rows = { data: image.inOut(x), count, stride };
          const cos = image.place(Float32Array.from(theta, Math.cos));
          const sin = image.place(Float32Array.from(theta, Math.sin));
          const action = (k: InferenceKernels) => k.rotate(rows, { cos, sin, pairs }, interleaved);
          const [y] = runBoth(image, kernels, scalar, { label: `${pairs} pairs`, action });
          const expected = Float64Array.from(x);
          for (let at = 0; at < count * pairs; at++) {
            const [row, pair] = [Math.floor(at / pairs), at % pairs];
            const first = row * stride + (interleaved ? 2 * pair : pair);
            const second = interleaved ? first + 1 : first + pairs;
            const [a, b, angle] = [x[first]!, x[second]!, theta[pair]!];
            expected[first] = a * Math.cos(angle) - b * Math.sin(angle);
            expected[second] = a * Math.sin(angle) + b * Math.cos(angle);
          }
          for (const [at, actual] of y!.entries())
            near(actual, expected[at]!, 2 ** -22 * 4, `${pairs}: ${at}`);
        }
      });
    }

    test(`rotate() on ${name} turns (1, 0) by 90° to (0, 1)`, () => {
      for (const [interleaved, x, y] of [
        [true, [1, 0, 5, 6], [0, 1, -6, 5]],
        [false, [1, 5, 0, 6], [0, -6, 1, 5]],
      ] as const) {
        const image = new HeapImage();
        const rows = { data: image.inOut(Float32Array.from(x)), count: 1, stride: 4 };
        const [cos, sin] = [image.place(Float32Array.of(0, 0)), image.place(Float32Array.of(1, 1))];
        const action = (k: InferenceKernels) => k.rotate(rows, { cos, sin, pairs: 2 }, interleaved);
        assert.deepEqual([...runBoth(image, kernels, scalar, { label: "90°", action })[0]!], y);
      }
    });
  });

  /** silu of every element, by siluMul with ones. */
  function silu(z: Float32Array, label: string): Float32Array {
    const image = new HeapImage();
    const rows = (data: number) => ({ data, count: 1, stride: z.length });
    const gate = rows(image.place(z));
    const up = rows(image.place(new Float32Array(z.length).fill(1)));
    const out = rows(image.output(z.length));
    const action = (k: InferenceKernels) => k.siluMul(gate, up, z.length, out);
    return runBoth(image, kernels, scalar, { label, action })[0]!;
  }

  describe(`siluMul() on ${name}`, () => {
    test(`siluMul() on ${name} has relative error < 4e-7 for z > -88, absolute error < 4e-37 below`, () => {
      for (let from = -110; from < 110; from += 0.25) {
        const z = Float32Array.from({ length: 100 }, (_, i) => from + i / 400);
        const y = silu(z, `from ${from}`);
        for (const [i, actual] of y.entries()) {
          const expected = z[i]! / (1 + Math.exp(-z[i]!));
          near(actual, expected, z[i]! > -88 ? 4e-7 * Math.abs(expected) : 4e-37, `z = ${z[i]}`);
        }
      }
      for (let exponent = -149; exponent < 128; exponent++) {
        const z = Float32Array.of(2 ** exponent, -(2 ** exponent), 1.3 * 2 ** exponent, -1.7 * 2 ** exponent);
        for (const [i, actual] of silu(z, `2^${exponent}`).entries()) {
          const expected = z[i]! / (1 + Math.exp(-z[i]!));
          const bound = z[i]! > -88 ? 4e-7 * Math.abs(expected) + 2 ** -149 : 4e-37;
          near(actual, expected, bound, `z = ${z[i]}`);
        }
      }
    });

    test(`siluMul() on ${name} keeps ±0, is z for large z and -0 for large -z, NaN of NaN`, () => {
      const z = [0, -0, 1e3, 3e38, -1e3, -3e38, Infinity, Number.NaN];
      const y = silu(Float32Array.from(z), "limits");
      const big = Math.fround(3e38);
      assertSameBits(y, Float32Array.of(0, -0, 1e3, big, -0, -0, Infinity, Number.NaN), "limits");
    });

    test(`siluMul() on ${name} multiplies row by row, also into gate or up`, () => {
      for (const cols of LENGTHS) {
        for (const into of ["out", "gate", "up"] as const) {
          const random = new Random(cols);
          const count = 3;
          const [g, u] = [random.floats(count * (cols + 1), 4), random.floats(count * (cols + 2))];
          const image = new HeapImage();
          const place = (data: Float32Array, role: string) =>
            into === role ? image.inOut(data) : image.place(data);
          const gate = { data: place(g, "gate"), count, stride: cols + 1 };
          const up = { data: place(u, "up"), count, stride: cols + 2 };
          const target = { data: into === "out" ? image.inOut(new Float32Array(count * (cols + 3))) : 0 };
          const out = { out: { ...target, count, stride: cols + 3 }, gate, up }[into];
          const label = `${cols} columns into ${into}`;
          const action = (k: InferenceKernels) => k.siluMul(gate, up, cols, out);
          const [y] = runBoth(image, kernels, scalar, { label, action });
          for (let at = 0; at < count * cols; at++) {
            const [row, col] = [Math.floor(at / cols), at % cols];
            const z = g[row * gate.stride + col]!;
            const expected = (z / (1 + Math.exp(-z))) * u[row * up.stride + col]!;
            near(y![row * out.stride + col]!, expected, 5e-7 * Math.abs(expected), label);
          }
        }
      }
    });
  });

  describe(`addScaled() on ${name}`, () => {
    test(`addScaled() on ${name} rounds weight · x, then the sum; a weight of 1 adds x`, () => {
      for (const count of LENGTHS) {
        for (const weight of [1, 0.3, -2.5]) {
          const random = new Random(count);
          const [y, x] = [random.floats(count), random.floats(count)];
          const image = new HeapImage();
          const [to, from] = [image.inOut(y), image.place(x)];
          const action = (k: InferenceKernels) => k.addScaled(to, from, weight, count);
          const [sum] = runBoth(image, kernels, scalar, { label: `${count}`, action });
          const expected = y.map((value, i) => value + Math.fround(Math.fround(weight) * x[i]!));
          assertSameBits(sum!, expected, `${count} × ${weight}`);
        }
      }
    });
  });

  describe(`firstNonFinite() on ${name}`, () => {
    test(`firstNonFinite() on ${name} finds the first at every position, and none beyond`, () => {
      const bad = [Number.NaN, Infinity, -Infinity];
      for (const count of LENGTHS.filter((length) => length < 130)) {
        const x = new Random(count).floats(count, 3e38 / 2);
        const find = (values: Float32Array): number => {
          let found = -2;
          const image = new HeapImage();
          const at = image.place(values);
          image.run(kernels, (k) => {
            found = k.firstNonFinite(at, count);
          });
          return found;
        };
        assert.equal(find(x), -1);
        for (let index = 0; index < count; index++) {
          const one = x.slice();
          one[index] = bad[index % 3]!;
          assert.equal(find(one), index);
          one[count - 1] = Number.NaN;
          assert.equal(find(one), index);
        }
      }
    });
  });
}
