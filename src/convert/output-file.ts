/**
 * Writing one large file from front to back: under a temporary name beside it, whole or not at all, with the
 * disk asked before and the caller's signal looked at between two writes.
 */
import { BuildError, Interrupted } from "../base/errors.ts";
import { formatBytes } from "../base/format.ts";
import { fileExists } from "../checkpoint/node.ts";
import { createFile, freeBytesAt } from "../checkpoint/node-output.ts";
import { printable } from "../checkpoint/shown.ts";

export interface FileProgress {
  bytesDone: number;
  bytesTotal: number;
}

export interface WriteOptions {
  /** Replace a file that is there. */
  force?: boolean;
  signal?: AbortSignal;
  onProgress?: (progress: FileProgress) => void;
}

/** Refuses a file that is there, and a disk without room for it. */
export function requireRoom(path: string, byteLength: number, { force }: WriteOptions): void {
  const what = `Cannot write "${printable(path)}"`;
  if (!force && fileExists(path))
    throw new BuildError("exists", `${what}: it is there already, wanted a new name`, {
      note: "--force replaces it",
    });
  const free = freeBytesAt(path);
  if (free !== undefined && free < byteLength) {
    const values = `it takes ${formatBytes(byteLength)}, the disk has ${formatBytes(free)} free`;
    throw new BuildError("disk-space", `${what}: ${values}`);
  }
}

/** Writes what `fill` puts out, which must be `byteLength` bytes. */
export async function writeLargeFile(
  path: string,
  {
    byteLength,
    fill,
    ...options
  }: WriteOptions & { byteLength: number; fill: (write: Write) => Promise<void> },
): Promise<void> {
  requireRoom(path, byteLength, options);
  const { signal, onProgress } = options;
  const sink = createFile(path, byteLength);
  try {
    let position = 0;
    await fill(async (bytes) => {
      if (signal?.aborted) throw new Interrupted("nothing was written");
      await sink.write(bytes, position);
      position += bytes.length;
      onProgress?.({ bytesDone: position, bytesTotal: byteLength });
    });
    if (position !== byteLength)
      throw new Error(`internal: "${path}" got ${position} bytes instead of ${byteLength}`);
    await sink.flush();
    await sink.publish();
  } finally {
    await sink.discard();
  }
}

export type Write = (bytes: Uint8Array) => Promise<void>;
