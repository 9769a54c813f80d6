/**
 * The copy path: bytes of one parent's file, untouched, in large pieces.
 *
 * Bytes are looked at on their way: a value that is not finite, or a scale that no quantiser writes, is an
 * error here as in a merge. The scan runs at memory speed and costs nothing beside a disk.
 */
import { CheckpointError } from "../base/errors.ts";
import type { Kernels } from "../kernels/kernels.ts";
import type { Heap } from "../logical/heap.ts";
import { elementIndex } from "../logical/pieces.ts";
import { PendingWrites, readAhead } from "../logical/read-ahead.ts";
import type { PlanTensor } from "../plan/plan.ts";
import { floatSize, isFloat } from "../tensor/dtype.ts";
import { decodeBf16 } from "../tensor/float16.ts";
import type { ParentSources } from "./sources.ts";

/** Tensors of the child that lie one after another in one file of a parent. */
export interface CopyRun {
  parent: number;
  shard: string;
  /** Position of the first byte in the parent's file. */
  offset: number;
  tensors: readonly PlanTensor[];
}

interface CopyEnvironment {
  kernels: Kernels;
  heap: Heap;
  sources: ParentSources;
  put: (bytes: Uint8Array, offset: number, tensor: PlanTensor | undefined) => Promise<void>;
  checkpoint?: () => void;
}

/** Bytes per read and write. Larger pieces gained nothing on tmpfs, ext4 or NVMe. */
const COPY_BYTES = 4 << 20;

export async function copyRun(run: CopyRun, environment: CopyEnvironment): Promise<void> {
  const { kernels, heap, sources, put, checkpoint } = environment;
  const source = await sources.get(run.parent, run.shard);
  const begin = run.tensors[0]!.offset;
  const mark = heap.mark();
  const slots = [heap.allocate(COPY_BYTES), heap.allocate(COPY_BYTES)] as const;
  const writes = new PendingWrites();
  const load = async ({ from, to }: Piece, slot: 0 | 1) => {
    await writes.free(slot); // bytes of the slot may still be on their way out
    const bytes = kernels.bytes.subarray(slots[slot], slots[slot] + to - from);
    await source.read(bytes, run.offset + from - begin);
    return bytes;
  };
  try {
    for await (const { item, loaded, slot } of readAhead(cutRun(run.tensors), load)) {
      checkpoint?.();
      for (const tensor of item.tensors) {
        const from = Math.max(tensor.offset, item.from);
        const to = Math.min(tensor.offset + tensor.byteLength, item.to);
        if (to > from)
          checkValues(tensor, { from, to, heapAt: slots[slot] + from - item.from }, run, environment);
      }
      writes.add(slot, put(loaded, item.from, item.tensors[0]));
    }
    await writes.all();
  } finally {
    await writes.settle();
    heap.release(mark);
  }
}

/** Positions of the child's file, and the tensors that have bytes between them. */
interface Piece {
  from: number;
  to: number;
  tensors: PlanTensor[];
}

function* cutRun(tensors: readonly PlanTensor[]): Generator<Piece> {
  const last = tensors.at(-1)!;
  const end = last.offset + last.byteLength;
  let index = 0;
  for (let from = tensors[0]!.offset; from < end; ) {
    const to = pieceEnd(tensors, index, from);
    const within: PlanTensor[] = [];
    for (; index < tensors.length; index++) {
      const tensor = tensors[index]!;
      if (tensor.offset >= to) break;
      within.push(tensor);
      if (tensor.offset + tensor.byteLength > to) break; // it goes on in the next piece
    }
    yield { from, to, tensors: within };
    from = to;
  }
}

/** The end of a piece: at the limit, but never inside an element. */
function pieceEnd(tensors: readonly PlanTensor[], start: number, position: number): number {
  const limit = position + COPY_BYTES;
  for (let i = start; i < tensors.length; i++) {
    const { offset, byteLength } = tensors[i]!;
    if (offset + byteLength < limit) continue;
    if (offset + byteLength === limit) return limit;
    const whole = offset + Math.floor((limit - offset) / 8) * 8;
    return whole > position ? whole : limit;
  }
  const last = tensors.at(-1)!;
  return last.offset + last.byteLength;
}

function checkValues(
  tensor: PlanTensor,
  { from, to, heapAt }: { from: number; to: number; heapAt: number },
  run: CopyRun,
  { kernels, sources }: CopyEnvironment,
): void {
  const { name, dtype, shape, part } = tensor;
  const fail = (element: number, what: string) => {
    const index = elementIndex(shape, element);
    const where = `element [${index.join(", ")}] of parent "${sources.nameOf(run.parent)}" in "${run.shard}"`;
    throw new CheckpointError("not-finite", `Cannot copy "${name}": ${where} is ${what}`);
  };
  if (part === "scale" && dtype === "F8_E8M0") {
    const bad = kernels.bytes.subarray(heapAt, heapAt + to - from).indexOf(255);
    if (bad >= 0) fail(from - tensor.offset + bad, "not a number, wanted a finite scale above 0");
  }
  if (!isFloat(dtype)) return;
  const size = floatSize(dtype);
  const firstElement = (from - tensor.offset) / size;
  const count = (to - from) / size;
  const bad = kernels.firstNonFinite(dtype, heapAt, count);
  if (bad >= 0) fail(firstElement + bad, "not finite, wanted a finite number");
  if (part !== "scale") return;
  const view = new DataView(kernels.bytes.buffer, kernels.bytes.byteOffset + heapAt, to - from);
  for (let i = 0; i < count; i++) {
    const value = size === 4 ? view.getFloat32(i * 4, true) : decodeBf16(view.getUint16(i * 2, true));
    if (!(value > 0)) fail(firstElement + i, `${value}, wanted a finite scale above 0`);
  }
}
