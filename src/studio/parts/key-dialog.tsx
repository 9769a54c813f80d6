/** Asks for the key of a server that wants one. The server's engine waits for the answer. */
import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

interface Asking {
  isWrong: boolean;
  answer: (key: string | undefined) => void;
}

const asking = signal<Asking | undefined>(undefined);

export function askForKey(isWrong: boolean): Promise<string | undefined> {
  return new Promise((resolve) => {
    asking.value = {
      isWrong,
      answer: (key) => {
        asking.value = undefined;
        resolve(key);
      },
    };
  });
}

export function KeyDialog() {
  const dialog = useRef<HTMLDialogElement>(null);
  const now = asking.value;
  useEffect(() => {
    if (now) dialog.current?.showModal();
  }, [now]);
  if (!now) return null;
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const key = new FormData(event.currentTarget as HTMLFormElement).get("key");
    now.answer(String(key ?? "").trim() || undefined);
  };
  return (
    <dialog ref={dialog} class="dialog" aria-labelledby="key-title" onCancel={() => now.answer(undefined)}>
      <form onSubmit={submit}>
        <h2 id="key-title">This server wants a key</h2>
        {now.isWrong && (
          <p class="error-text" role="alert">
            The key that was sent is not right.
          </p>
        )}
        <p class="soft">It is kept in this tab, until the tab is closed.</p>
        <label class="field">
          <span>API key</span>
          <input name="key" type="password" autocomplete="off" required />
        </label>
        <div class="actions">
          <button type="submit" class="primary">
            Go on
          </button>
          <button type="button" onClick={() => now.answer(undefined)}>
            Not now
          </button>
        </div>
      </form>
    </dialog>
  );
}
