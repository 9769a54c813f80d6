/** A page asks no servers from within the engine: instead of src/checkpoint/stopping.ts. */
export function underSignal<T>(_signal: AbortSignal | undefined, work: () => T): T {
  return work();
}

export function tidying<T>(work: () => T): T {
  return work();
}
