/** The scope of a dedicated worker, as far as we use it: TypeScript has types for pages or for workers, not for both. */
export interface WorkerScope {
  readonly location: { readonly href: string };
  readonly crossOriginIsolated: boolean;
  postMessage(message: unknown, transfer?: Transferable[]): void;
  addEventListener(type: "message", listener: (event: MessageEvent) => void): void;
}

export const scope: WorkerScope = globalThis as unknown as WorkerScope;

/** Whether threads can share memory. Else everything runs in one worker. */
export const hasThreads: boolean = scope.crossOriginIsolated && typeof SharedArrayBuffer === "function";

/** A worker of ours: its script lies beside the one that runs. */
export function startWorker(script: string): Worker {
  return new Worker(new URL(script, scope.location.href), { type: "module" });
}
