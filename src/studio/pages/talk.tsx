/** Parents and child on the same prompt, side by side. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { CheckpointEntry } from "../../server/api.ts";
import { isRunning, shownTurns } from "../logic/conversation.ts";
import { Composer } from "../parts/composer.tsx";
import { LambdaSlider } from "../parts/lambda-slider.tsx";
import { Page } from "../parts/page.tsx";
import { TalkOptions } from "../parts/talk-options.tsx";
import { TurnView } from "../parts/turn.tsx";
import { address, setQuery } from "../router.ts";
import { checkpoints, refresh } from "../state.ts";
import { ask, clear, conversation, type Speaker, say, settings } from "../talk-state.ts";

/** Pixels from the end of the page that count as the end. */
const NEAR = 320;

/** The model that λ has put in the place of a child. */
interface Swap {
  column: string;
  model: string;
  note: string;
}

export function TalkPage() {
  const entries = checkpoints.value ?? [];
  const asked = address.value.query.get("models");
  const columns = useMemo(() => {
    const known = (asked?.split(",") ?? []).filter((id) => entries.some((entry) => entry.id === id));
    return known.length > 0 ? known : usual(entries);
  }, [asked, entries]);
  const [swap, setSwap] = useState<Swap | undefined>();
  const speakers: Speaker[] = columns.map((column) =>
    swap?.column === column ? swap : { column, model: column },
  );
  const turns = shownTurns(conversation.value);
  const last = turns.at(-1);
  const child = entries.find(({ id, recipe }) => recipe !== undefined && columns.includes(id));
  const end = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (last) end.current?.scrollIntoView({ block: "nearest" });
  }, [last?.id]);
  // Whoever is at the end stays there while answers grow; whoever reads above is left alone.
  const isBusy = isRunning(conversation.value);
  useEffect(() => {
    const below = document.documentElement.scrollHeight - innerHeight - scrollY;
    if (isBusy && below < NEAR) end.current?.scrollIntoView({ block: "end" });
  }, [conversation.value]);
  useEffect(() => {
    if (!isBusy && last) void refresh(); // what is in memory now
  }, [isBusy]);

  const onChild = (model: string, note: string) => {
    if (!child) return;
    const changed = { column: child.id, model, note };
    setSwap(changed);
    void refresh();
    if (last) void ask(last.id, changed);
  };
  return (
    <Page
      title="Talk"
      lead="One prompt, several models: parents and child side by side."
      actions={
        <>
          <button type="button" disabled={turns.length === 0} onClick={() => save(columns)}>
            Export JSON
          </button>
          <button type="button" disabled={turns.length === 0} onClick={clear}>
            New conversation
          </button>
        </>
      }
    >
      <div class="talk">
        <aside class="talk-side" aria-label="Who answers, and how">
          <Speakers entries={entries} columns={columns} />
          {child && <LambdaSlider child={child} onChild={onChild} />}
          <TalkOptions />
        </aside>
        <div class="talk-main">
          {turns.length === 0 && <Start onSay={(prompt) => say(undefined, prompt, speakers)} />}
          {turns.map((turn, index) => (
            <TurnView
              key={turn.id}
              turn={turn}
              speakers={speakers}
              number={index + 1}
              isLast={turn === last}
            />
          ))}
          <p class="hidden" role="status">
            {turns.length > 0 && (isBusy ? "Answering" : "All answers are there")}
          </p>
          <Composer isBusy={isBusy} onSay={(prompt) => say(last?.id, prompt, speakers)} />
          <div ref={end} />
        </div>
      </div>
    </Page>
  );
}

/** The parents of the first child that has them here, and itself; else the first two. */
function usual(entries: readonly CheckpointEntry[]): string[] {
  const child = entries.find(({ kind, recipe, madeHere }) => kind === "child" && recipe && !madeHere);
  const stored = entries.filter(({ kind }) => kind === "checkpoint").map(({ id }) => id);
  const lines = child?.recipe?.split("\n") ?? [];
  const parents = stored.filter((id) => lines.some((line) => line.endsWith(`: ${id}`)));
  return child ? [...parents, child.id] : stored.slice(0, 2);
}

function Speakers({ entries, columns }: { entries: readonly CheckpointEntry[]; columns: readonly string[] }) {
  const listed = entries.filter(
    ({ id, madeHere }) => !madeHere || columns.includes(id) || !id.endsWith("-lambda"),
  );
  return (
    <details class="speakers" open={innerWidth > 760}>
      <summary>
        Models <span class="soft">{columns.join(", ")}</span>
      </summary>
      <fieldset>
        <legend class="hidden">Models that answer</legend>
        {listed.map(({ id, kind, state }) => (
          <label key={id} class="check">
            <input
              type="checkbox"
              checked={columns.includes(id)}
              onChange={(event) => {
                const chosen = event.currentTarget.checked
                  ? [...columns, id]
                  : columns.filter((each) => each !== id);
                setQuery({ models: chosen.join(",") });
              }}
            />
            {id}
            {kind === "child" && <span class="badge">child</span>}
            {state === "ready" && <span class="badge ready">in memory</span>}
          </label>
        ))}
      </fieldset>
    </details>
  );
}

const EXAMPLES = ["What is 17 + 25?", "How many days has a leap year?", "Why is the sky blue?"];
/** Of the small world in which the small parents live. */
const SMALL_EXAMPLES = ["What is 17 + 25?", "Sort 8 32 64 39.", "Tell me about the Amber Gate march."];
const SMALL_BYTES = 50e6;

function Start({ onSay }: { onSay: (prompt: string) => void }) {
  const isSmall = checkpoints.value?.some(({ bytes }) => bytes !== undefined && bytes < SMALL_BYTES);
  return (
    <section class="start" aria-label="Examples">
      <p class="soft">Nothing was said yet. Write below, or begin with one of these:</p>
      <div class="actions">
        {(isSmall ? SMALL_EXAMPLES : EXAMPLES).map((example) => (
          <button key={example} type="button" class="small" onClick={() => onSay(example)}>
            {example}
          </button>
        ))}
      </div>
    </section>
  );
}

/** All branches with their answers, as a file. */
function save(models: readonly string[]): void {
  const content = {
    ...{ format: "chimera-conversation", version: 1, models, settings: settings.value },
    ...conversation.value,
  };
  const url = URL.createObjectURL(
    new Blob([`${JSON.stringify(content, null, 2)}\n`], { type: "application/json" }),
  );
  const link = document.createElement("a");
  link.href = url;
  link.download = "conversation.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
