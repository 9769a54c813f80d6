/**
 * The optimiser against random search, at equal budgets: hypervolume of the true objectives of all evaluated points,
 * mean over seeds. Checked first: a proposal is the same when it is asked for again.
 *
 * CHIMERA_BENCH_SEEDS (default 20) says how many searches make a mean.
 */
import assert from "node:assert/strict";
import { hypervolume } from "../src/study/dominance.ts";
import { METHODS, type Method, propose, type Trial } from "../src/study/optimiser.ts";
import { normal, PURPOSE, randomStream } from "../src/study/random-stream.ts";
import type { Dimension } from "../src/study/space.ts";
import { LANDSCAPES, type Landscape } from "./landscapes.ts";
import { printTable } from "./table.ts";

const SEEDS = Number(process.env.CHIMERA_BENCH_SEEDS ?? 20);
const BUDGETS = [30, 60, 120];
/** The Gaussian process alone stops here: it takes most of the time, and has shown by then what it is worth. */
const LONGEST_GAUSSIAN = 60;
const ALONE = METHODS.filter((method) => method !== "random");

export function benchOptimiser(): string {
  printTable("optimiser: time of a proposal", ["trials", "dimensions", ...ALONE], times());
  for (const landscape of LANDSCAPES) {
    const random = searches(landscape, "random");
    const others = ALONE.map((method) => searches(landscape, method));
    const rows = BUDGETS.map((budget, b) => {
      const at = (all: readonly number[][]): number => mean(all.map((volumes) => volumes[b]!));
      const ratios = others.map((all) => (all[0]!.length > b ? (at(all) / at(random)).toFixed(3) : "–"));
      const wins = others[0]!.filter((volumes, s) => volumes[b]! > random[s]![b]!).length;
      return [String(budget), at(random).toFixed(3), ...ratios, `${wins} of ${SEEDS}`];
    });
    printTable(
      `optimiser: ${landscape.name}; hypervolume, mean of ${SEEDS} seeds, methods as multiples of random`,
      ["trials", "random", ...ALONE, "turns > random"],
      rows,
    );
  }
  return "equal arguments, equal proposals";
}

function searches(landscape: Landscape, method: Method): number[][] {
  return Array.from({ length: SEEDS }, (_, seed) => search(landscape, method, { seed: seed + 1 }));
}

/** Hypervolume after each budget. */
function search(landscape: Landscape, method: Method, { seed }: { seed: number }): number[] {
  const history: Trial[] = [];
  const truths: number[][] = [];
  const volumes: number[] = [];
  const most = method === "gaussian" ? LONGEST_GAUSSIAN : Math.max(...BUDGETS);
  for (let trial = 0; trial < most; trial++) {
    const point = propose(landscape.space, history, { seed, trial, method });
    if (trial === 40) assert.deepEqual(propose(landscape.space, history, { seed, trial, method }), point);
    const truth = landscape.objectives(point);
    const draw = randomStream(seed + 1000, trial, PURPOSE.uniform);
    history.push({ point, objectives: landscape.noisy?.(truth, () => normal(draw)) ?? truth });
    truths.push(truth);
    if (BUDGETS.includes(trial + 1)) volumes.push(hypervolume(truths, landscape.reference));
  }
  return volumes;
}

function times(): string[][] {
  return [
    [50, 5],
    [100, 10],
    [200, 20],
  ].map(([trials = 0, dimensions = 0]) => {
    const space = Array.from(
      { length: dimensions },
      (_, d): Dimension => ({ kind: "range", name: `x${d}`, low: 0, high: 1 }),
    );
    const draw = randomStream(1, 0, PURPOSE.uniform);
    const history = Array.from({ length: trials }, (): Trial => {
      const point = space.map(draw);
      return { point, objectives: [point[0]!, 1 - point[0]! + point[1]! ** 2] };
    });
    const cells = ALONE.map((method) => {
      const rounds = 4;
      const startedAt = performance.now();
      for (let round = 0; round < rounds; round++)
        propose(space, history, { seed: 1, trial: trials + round, method });
      return `${((performance.now() - startedAt) / rounds).toFixed(0)} ms`;
    });
    return [String(trials), String(dimensions), ...cells];
  });
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
