/** Many things to wait for, not too many at a time. */

/**
 * The results of `action` in the order of `items`, at most `limit` of them under way. Of several failures the one of
 * the first item is thrown, when none is under way any more.
 */
export async function mapLimited<T, R>(
  items: readonly T[],
  limit: number,
  action: (item: T, index: number) => Promise<R> | R,
): Promise<R[]> {
  const results: R[] = [];
  const failures = new Map<number, unknown>();
  let next = 0;
  const work = async () => {
    for (let at = next++; at < items.length && failures.size === 0; at = next++) {
      try {
        results[at] = await action(items[at]!, at);
      } catch (error) {
        failures.set(at, error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, work));
  if (failures.size > 0) throw failures.get(Math.min(...failures.keys()));
  return results;
}
