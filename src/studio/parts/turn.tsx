/** A prompt and what each model answers it, side by side. */
import { useState } from "preact/hooks";
import { type Answer, showAnswer, showTurn, siblingsOf, type Turn } from "../logic/conversation.ts";
import { ask, conversation, type Speaker, say, stopAnswer } from "../talk-state.ts";
import { Stepper } from "./stepper.tsx";

export interface TurnProps {
  turn: Turn;
  speakers: readonly Speaker[];
  number: number;
  isLast: boolean;
}

export function TurnView({ turn, speakers, number, isLast }: TurnProps) {
  const columns = columnsOf(turn, speakers);
  return (
    <article class="turn" aria-label={`Turn ${number}`}>
      <Prompt turn={turn} speakers={speakers} />
      <div class="answers">
        {columns.map((column) => (
          <AnswerCard
            key={column}
            turn={turn}
            column={column}
            speaker={speakers.find((each) => each.column === column)}
            isLast={isLast}
          />
        ))}
      </div>
    </article>
  );
}

/** Those who speak now, in their order; then those who did when the turn was made. */
function columnsOf(turn: Turn, speakers: readonly Speaker[]): string[] {
  const now = speakers.map(({ column }) => column);
  const before = Object.keys(turn.columns).filter((column) => !now.includes(column));
  return [...now.filter((column) => turn.columns[column] || speakers.length > 0), ...before];
}

function Prompt({ turn, speakers }: { turn: Turn; speakers: readonly Speaker[] }) {
  const [draft, setDraft] = useState<string | undefined>();
  const siblings = siblingsOf(conversation.value, turn);
  const submit = (event: Event) => {
    event.preventDefault();
    const text = draft?.trim();
    setDraft(undefined);
    if (text) say(turn.parent, text, speakers);
  };
  if (draft !== undefined)
    return (
      <form class="prompt editing" onSubmit={submit}>
        <label class="hidden" for={`edit-${turn.id}`}>
          The message, edited
        </label>
        <textarea
          id={`edit-${turn.id}`}
          rows={3}
          value={draft}
          ref={(element) => element?.focus()}
          onInput={(event) => setDraft(event.currentTarget.value)}
        />
        <div class="actions">
          <button type="submit" class="primary small">
            Go on from here
          </button>
          <button type="button" class="small" onClick={() => setDraft(undefined)}>
            Leave it
          </button>
          <span class="soft small">The other branch stays.</span>
        </div>
      </form>
    );
  return (
    <div class="prompt">
      <p class="prompt-text">{turn.prompt}</p>
      <div class="actions">
        <Stepper
          what="Branch"
          index={siblings.indexOf(turn)}
          count={siblings.length}
          onShow={(index) => {
            conversation.value = showTurn(conversation.value, siblings[index]!);
          }}
        />
        <button type="button" class="small quiet" onClick={() => setDraft(turn.prompt)}>
          Edit
        </button>
      </div>
    </div>
  );
}

interface CardProps {
  turn: Turn;
  column: string;
  /** Absent: it speaks no longer. */
  speaker: Speaker | undefined;
  isLast: boolean;
}

function AnswerCard({ turn, column, speaker, isLast }: CardProps) {
  const held = turn.columns[column];
  const answer = held?.answers[held.shown];
  return (
    <div class="answer" role="group" aria-label={`Answer of ${column}`}>
      <header>
        <strong>{column}</strong>
        {answer?.note && <span class="badge">{answer.note}</span>}
        {held && (
          <Stepper
            what="Answer"
            index={held.shown}
            count={held.answers.length}
            onShow={(index) => {
              conversation.value = showAnswer(conversation.value, turn.id, column, index);
            }}
          />
        )}
      </header>
      {answer ? <AnswerBody answer={answer} /> : <p class="soft">Not asked at this turn.</p>}
      <footer>
        <span class="soft small" title="Tokens, tokens a second, time to the first">
          {answer && figuresOf(answer)}
        </span>
        {answer?.state === "running" ? (
          <button type="button" class="small quiet" onClick={() => stopAnswer(turn.id, column)}>
            Stop
          </button>
        ) : (
          speaker &&
          isLast && (
            <button type="button" class="small quiet" onClick={() => void ask(turn.id, speaker)}>
              {answer ? "Regenerate" : "Ask"}
              <span class="hidden"> {column}</span>
            </button>
          )
        )}
      </footer>
    </div>
  );
}

export function AnswerBody({ answer }: { answer: Answer }) {
  const { reasoning, content, state, error } = answer;
  const isThinking = state === "running" && content === "" && reasoning !== "";
  return (
    <div class="answer-body">
      {reasoning !== "" && (
        <details class="thinking">
          <summary>
            {isThinking ? "Thinking …" : "Thinking"}
            {answer.thinkingTokens !== undefined && (
              <span class="soft"> · {answer.thinkingTokens} tokens</span>
            )}
          </summary>
          <div class="trace">{reasoning.trim()}</div>
        </details>
      )}
      {content.trim() !== "" && <div class="text">{content.trim()}</div>}
      {state === "running" && reasoning === "" && content === "" && <span class="soft">…</span>}
      {state === "done" && content.trim() === "" && <p class="soft">No answer behind the thinking.</p>}
      {state === "failed" && <p class="error-text">{error}</p>}
    </div>
  );
}

function figuresOf({ tokens, tokensPerSecond, firstTokenMs, finish, state }: Answer): string {
  if (state === "running") return "answering";
  if (state === "stopped") return "stopped";
  if (state === "failed") return "failed";
  const parts = [
    tokens === undefined ? undefined : `${tokens} ${tokens === 1 ? "token" : "tokens"}`,
    tokensPerSecond === undefined ? undefined : `${tokensPerSecond.toFixed(0)}/s`,
    firstTokenMs === undefined ? undefined : `${Math.round(firstTokenMs)} ms`,
    finish === "length" ? "cut off" : undefined,
  ];
  return parts.filter((part) => part !== undefined).join(" · ");
}
