/** What the engine takes of the global Buffer. The bundler puts it in where the name is used. */
export const Buffer: { compare(a: Uint8Array, b: Uint8Array): -1 | 0 | 1 } = {
  compare: (a, b) => {
    const shared = Math.min(a.length, b.length);
    for (let i = 0; i < shared; i++) if (a[i] !== b[i]) return a[i]! < b[i]! ? -1 : 1;
    return a.length === b.length ? 0 : a.length < b.length ? -1 : 1;
  },
};
