/**
 * What a scheduler makes of an exit status. One table for every way to launch, so that a part ends the same wherever it runs.
 *
 * 75, 130 and 143 mean that the state was saved; any other signal may be a node that went away or memory that ran out.
 */

/** Runs after the first one that a part gets, before it has failed. */
export const MOST_RETRIES = 5;

/** What trying again does not mend: usage, an input, bytes that differ. */
export const FINAL_STATUSES: readonly number[] = [2, 3, 4];

/** What one run of a part came to. */
export interface TaskEnd {
  /** null: ended by a signal. */
  status: number | null;
  signal?: string | null;
  /** The machine took it away: preempted, drained. Only schedulers know. */
  isDisrupted?: boolean;
}

/** Whether the same command may do it the next time. */
export function isWorthRetrying({ status, signal }: TaskEnd): boolean {
  if (status === null) return signal !== undefined;
  return status === 75 || status > 128;
}

/** As a shell tells it: 128 + n of a signal that is not known by name is 1. */
export function statusOf({ status, signal }: TaskEnd): number {
  if (status !== null) return status;
  return 128 + (SIGNALS[signal ?? ""] ?? 9);
}

const SIGNALS: Record<string, number> = { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGSEGV: 11, SIGTERM: 15 };
