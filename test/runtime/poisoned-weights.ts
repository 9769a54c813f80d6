/** A source of weights whose layer 1 has a NaN in its o_proj: row 3, column 2. */
import { openReference, type WeightReference, type WeightSource } from "../../src/logical/weight-source.ts";

const NAME = "model.layers.1.self_attn.o_proj.weight";

export async function openWeights(reference: WeightReference): Promise<WeightSource> {
  const source = await openReference(reference);
  const poisoned: WeightSource = {
    label: source.label,
    config: source.config,
    block: source.block,
    weights: source.weights,
    readSmall: (name, limitBytes) => source.readSmall(name, limitBytes),
    readScales: (name, rows) => source.readScales(name, rows),
    extentOf: (name, rows) => source.extentOf(name, rows),
    close: () => source.close(),
    read: async (name, rows, into) => {
      const scales = await source.read(name, rows, into);
      if (name === NAME && rows.from <= 3 && 3 < rows.to) {
        const cols = source.weights.get(name)!.shape[1]!;
        const at = into.byteOffset + 4 * ((3 - rows.from) * cols + 2);
        new DataView(into.buffer).setFloat32(at, Number.NaN, true);
      }
      return scales;
    },
  };
  return poisoned;
}
