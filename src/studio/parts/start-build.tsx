/** The name of a child, and the beginning of its build; or of a virtual child, to talk to at once. */
import { useState } from "preact/hooks";
import { recipeText } from "../assemble-state.ts";
import { go } from "../router.ts";
import { checkpoints, engine, info, refresh } from "../state.ts";
import { Fault } from "./notice.tsx";

const NAME = /^[A-Za-z0-9][\w.-]{0,99}$/;

export function StartBuild({ isReady }: { isReady: boolean }) {
  const [name, setName] = useState(() => freeName());
  const [fault, setFault] = useState<unknown>();
  const [isBusy, setBusy] = useState(false);
  const isName = NAME.test(name);
  const run = async (action: () => Promise<void>) => {
    setBusy(true);
    setFault(undefined);
    try {
      await action();
    } catch (error) {
      setFault(error);
    } finally {
      setBusy(false);
    }
  };
  const build = () =>
    run(async () => {
      const { id } = await engine().startBuild(name, recipeText.value);
      go(["builds", id]);
    });
  const tryIt = () =>
    run(async () => {
      await engine().makeChild({ name, recipe: recipeText.value });
      await refresh();
      go(["talk"], { models: name });
    });
  const { builds, noBuilds } = info.value ?? {};
  return (
    <form
      class="start-build"
      onSubmit={(event) => {
        event.preventDefault();
        void build();
      }}
    >
      <label class="field">
        <span>Name of the child</span>
        <input
          type="text"
          value={name}
          aria-invalid={!isName}
          onInput={(event) => setName(event.currentTarget.value)}
        />
      </label>
      <div class="actions">
        <button type="submit" class="primary" disabled={!isReady || isBusy || !isName || !builds}>
          Build
        </button>
        <button type="button" disabled={!isReady || isBusy || !isName} onClick={() => void tryIt()}>
          Try without building
        </button>
      </div>
      <p class="soft small">
        {!isName
          ? "A name has letters, digits, _, . and -, and begins with one of the first two."
          : builds
            ? `It goes to ${builds}/${name}.`
            : noBuilds}
      </p>
      <Fault error={fault} />
    </form>
  );
}

/** "child", or with a number that nothing here has. */
function freeName(): string {
  const taken = new Set((checkpoints.value ?? []).map(({ id }) => id));
  for (let number = 1; ; number++) {
    const name = number === 1 ? "child" : `child-${number}`;
    if (!taken.has(name)) return name;
  }
}
