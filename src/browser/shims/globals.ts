/** What the engine takes of Node without importing it. The bundler puts these in where a name is used. */
import { inTurn } from "../breathe.ts";

export const Buffer: { compare(a: Uint8Array, b: Uint8Array): -1 | 0 | 1 } = {
  compare: (a, b) => {
    const shared = Math.min(a.length, b.length);
    for (let i = 0; i < shared; i++) if (a[i] !== b[i]) return a[i]! < b[i]! ? -1 : 1;
    return a.length === b.length ? 0 : a.length < b.length ? -1 : 1;
  },
};

export function setImmediate(task: () => void): void {
  inTurn(task);
}
