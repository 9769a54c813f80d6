/**
 * Every tensor of a checkpoint with its place and size, and how we know them.
 *
 * A header says what is stored. Where an index names a tensor whose shard is not there, DeepSeek's families
 * still tell dtype and shape from config.json; elsewhere only the name is known. Reports add all three up and
 * say which is which, so that an index alone is worth inspecting and never passes for a checkpoint.
 */
import type { Architecture, ExpectedTensor } from "../arch/architecture.ts";
import type { Place } from "../arch/place.ts";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { byteLengthOf, type Dtype, numElements } from "../tensor/dtype.ts";

/** Where dtype, shape and size of a tensor are from. "name": nothing is known but its name. */
export type Basis = "header" | "config" | "name";

export interface ListedTensor {
  name: string;
  place: Place;
  basis: Basis;
  /** Absent when only the name is known; elements and bytes are 0 then. */
  dtype?: Dtype;
  shape?: readonly number[];
  elements: number;
  bytes: number;
}

/** What config.json implies, by name. */
export type Expected = ReadonlyMap<string, ExpectedTensor>;

/** undefined where the family does not tell. */
export function expectedByName(arch: Architecture): Expected | undefined {
  const expected = arch.expectedTensors?.();
  return expected && new Map(expected.map((tensor) => [tensor.name, tensor]));
}

/** Stored tensors in the checkpoint's order, then those that the index names and nobody has read. */
export function takeInventory(
  { tensors, unread }: Pick<Checkpoint, "tensors" | "unread">,
  arch: Architecture,
  expected: Expected | undefined,
): ListedTensor[] {
  const listed: ListedTensor[] = [];
  for (const { name, dtype, shape, byteLength } of tensors.values()) {
    const elements = numElements(shape);
    listed.push({
      name,
      place: arch.locate(name),
      basis: "header",
      dtype,
      shape,
      elements,
      bytes: byteLength,
    });
  }
  for (const name of unread) {
    const place = arch.locate(name);
    const implied = expected?.get(name);
    if (!implied) listed.push({ name, place, basis: "name", elements: 0, bytes: 0 });
    else {
      const { dtype, shape } = implied;
      const [elements, bytes] = [numElements(shape), byteLengthOf(dtype, shape)];
      listed.push({ name, place, basis: "config", dtype, shape, elements, bytes });
    }
  }
  return listed;
}
