/** The time of the quickest run: what disturbs a run only ever makes it longer. */

/** Seconds of the quickest call among those that fit into about `seconds`; at least two. */
export function quickest(seconds: number, run: () => void): number {
  run(); // compiles
  let best = Number.POSITIVE_INFINITY;
  const end = performance.now() + 1000 * seconds;
  for (let calls = 0; calls < 2 || performance.now() < end; calls++) {
    const startedAt = performance.now();
    run();
    best = Math.min(best, (performance.now() - startedAt) / 1000);
  }
  return best;
}

/** Seconds that a call takes. */
export async function secondsOf(run: () => unknown): Promise<number> {
  const startedAt = performance.now();
  await run();
  return (performance.now() - startedAt) / 1000;
}

export interface Contestant {
  /** Before each run, not timed. */
  prepare?: () => unknown;
  run: () => unknown;
}

/** Runs all in turn, several rounds of it, and gives the quickest time of each: what drifts, drifts for all. */
export async function quickestOf<Name extends string>(
  contestants: Record<Name, Contestant>,
  { rounds }: { rounds: number },
): Promise<Record<Name, number>> {
  const names = Object.keys(contestants) as Name[];
  const best = Object.fromEntries(names.map((name) => [name, Number.POSITIVE_INFINITY])) as Record<
    Name,
    number
  >;
  for (let round = 0; round < rounds; round++) {
    for (const name of names) {
      await contestants[name].prepare?.();
      best[name] = Math.min(best[name], await secondsOf(contestants[name].run));
    }
  }
  return best;
}
