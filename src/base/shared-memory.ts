/** Memory that threads share, where there can be threads at all. */

/**
 * Zeroed memory of so many bytes. An engine without shared memory (a page that is not isolated from other
 * origins) has no threads of ours either: plain memory does there, as nobody else looks at it and nobody may
 * wait on it.
 */
export function sharedMemory(byteLength: number): SharedArrayBuffer {
  if (typeof SharedArrayBuffer === "function") return new SharedArrayBuffer(byteLength);
  return new ArrayBuffer(byteLength) as unknown as SharedArrayBuffer;
}
