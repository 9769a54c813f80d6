/** Something that is asked for while a page is shown: absent at first, then there, or a fault. */
import { useEffect, useState } from "preact/hooks";

export interface Loaded<T> {
  value?: T;
  error?: unknown;
  isLoading: boolean;
}

/** Asks whenever one of `keys` changes; what comes late for earlier keys is dropped. */
export function useLoaded<T>(load: (signal: AbortSignal) => Promise<T>, keys: readonly unknown[]): Loaded<T> {
  const [state, setState] = useState<Loaded<T>>({ isLoading: true });
  useEffect(() => {
    const controller = new AbortController();
    setState((before) => ({ ...before, error: undefined, isLoading: true }));
    load(controller.signal).then(
      (value) => {
        if (!controller.signal.aborted) setState({ value, isLoading: false });
      },
      (error) => {
        if (!controller.signal.aborted) setState({ error, isLoading: false });
      },
    );
    return () => controller.abort();
  }, keys);
  return state;
}

/** `value`, once it has not changed for `ms`. */
export function useSettled<T>(value: T, ms: number): T {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), ms);
    return () => clearTimeout(timer);
  }, [value, ms]);
  return settled;
}
