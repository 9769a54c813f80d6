/** Where prompts are written. Enter says them, Shift and Enter begins a line. */
import { useState } from "preact/hooks";
import { stopAll } from "../talk-state.ts";

export function Composer({ isBusy, onSay }: { isBusy: boolean; onSay: (prompt: string) => void }) {
  const [text, setText] = useState("");
  const send = () => {
    if (text.trim() === "" || isBusy) return;
    onSay(text.trim());
    setText("");
  };
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <label class="hidden" for="prompt">
        Prompt
      </label>
      <textarea
        id="prompt"
        rows={2}
        value={text}
        placeholder="What is 17 + 25?"
        onInput={(event) => setText(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
          event.preventDefault();
          send();
        }}
      />
      {isBusy ? (
        <button type="button" onClick={stopAll}>
          Stop
        </button>
      ) : (
        <button type="submit" class="primary" disabled={text.trim() === ""}>
          Ask
        </button>
      )}
    </form>
  );
}
