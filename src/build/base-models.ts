/** Names on the Hub of a child's parents, as far as the places where they lie tell them. */

/** "org/name" of hf:org/name@commit, and of a folder in the Hub's cache: models--org--name/snapshots/… */
export function hubName(location: string): string | undefined {
  const remote = /^hf:(?:\/\/)?([^/@]+\/[^/@]+)(?:@.*)?$/i.exec(location);
  if (remote) return remote[1];
  const cached = /models--([^/]+?)--([^/]+)\/snapshots\//.exec(location);
  return cached ? `${cached[1]}/${cached[2]}` : undefined;
}
