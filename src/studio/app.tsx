/** The shell: which page belongs to the address, the way between pages, the theme. */
import type { FunctionComponent } from "preact";
import { useEffect } from "preact/hooks";
import { AssemblePage } from "./pages/assemble.tsx";
import { BehaviourPage } from "./pages/behaviour.tsx";
import { BuildPage } from "./pages/build.tsx";
import { CheckpointPage } from "./pages/checkpoint.tsx";
import { CheckpointsPage } from "./pages/checkpoints.tsx";
import { ComparePage } from "./pages/compare.tsx";
import { RunPage } from "./pages/run.tsx";
import { StudyPage } from "./pages/study.tsx";
import { TalkPage } from "./pages/talk.tsx";
import { Icon, type IconName } from "./parts/icons.tsx";
import { KeyDialog } from "./parts/key-dialog.tsx";
import { Fault, Waiting } from "./parts/notice.tsx";
import { Page } from "./parts/page.tsx";
import { address, href } from "./router.ts";
import { checkpoints, refresh, startFault } from "./state.ts";
import { type Theme, theme } from "./theme.ts";

const PLACES: { label: string; icon: IconName; path: string[]; owns: string[] }[] = [
  { label: "Checkpoints", icon: "checkpoints", path: [], owns: ["", "checkpoints"] },
  { label: "Compare", icon: "compare", path: ["compare"], owns: ["compare"] },
  { label: "Assemble", icon: "assemble", path: ["assemble"], owns: ["assemble", "builds"] },
  { label: "Talk", icon: "talk", path: ["talk"], owns: ["talk"] },
  { label: "Behaviour", icon: "behaviour", path: ["behaviour"], owns: ["behaviour"] },
];

export function App() {
  const { path } = address.value;
  useEffect(() => void refresh(), []);
  useEffect(() => scrollTo(0, 0), [path.join("/")]);
  return (
    <>
      <button type="button" class="skip" onClick={() => document.querySelector<HTMLElement>("h1")?.focus()}>
        To the content
      </button>
      <header class="bar">
        <a class="brand" href={href([])} aria-label="Chimera, start">
          <Mark />
          <span>Chimera</span>
        </a>
        <nav aria-label="Pages">
          {PLACES.map(({ label, icon, path: to, owns }) => (
            <a key={label} href={href(to)} aria-current={owns.includes(path[0] ?? "") ? "page" : undefined}>
              <Icon name={icon} />
              <span>{label}</span>
            </a>
          ))}
        </nav>
        <ThemeSwitch />
      </header>
      <Content path={path} />
      <KeyDialog />
    </>
  );
}

function Content({ path }: { path: string[] }) {
  if (startFault.value !== undefined && !checkpoints.value)
    return (
      <Page title="Nothing to show yet">
        <Fault error={startFault.value} title="The engine does not answer" />
        <p>
          <button type="button" onClick={() => void refresh()}>
            Try again
          </button>
        </p>
      </Page>
    );
  if (!checkpoints.value)
    return (
      <main class="page" id="main">
        <Waiting what="Looking at what is here" />
      </main>
    );
  const [first = "", second, third] = path;
  if (path.length === 0 || (first === "checkpoints" && !second)) return <CheckpointsPage />;
  if (first === "checkpoints" && second && path.length === 2)
    return <CheckpointPage key={second} id={second} />;
  const single: Record<string, FunctionComponent> = {
    compare: ComparePage,
    assemble: AssemblePage,
    talk: TalkPage,
    behaviour: BehaviourPage,
  };
  const Single = Object.hasOwn(single, first) ? single[first] : undefined;
  if (Single && path.length === 1) return <Single />;
  if (first === "builds" && second) return <BuildPage key={second} id={second} />;
  if (first === "behaviour" && second === "runs" && third) return <RunPage key={third} id={third} />;
  if (first === "behaviour" && second === "studies" && third) return <StudyPage key={third} id={third} />;
  return (
    <Page title="There is no such page" lead={`Nothing is at /${path.join("/")}.`}>
      <p>
        <a href={href([])}>To the checkpoints</a>
      </p>
    </Page>
  );
}

function ThemeSwitch() {
  const next: Record<Theme, Theme> = { auto: "light", light: "dark", dark: "auto" };
  const words: Record<Theme, string> = { auto: "as the system", light: "light", dark: "dark" };
  const now = theme.value;
  const label = `Colours: ${words[now]}. Change to ${words[next[now]]}`;
  return (
    <button
      type="button"
      class="theme"
      aria-label={label}
      title={label}
      onClick={() => {
        theme.value = next[now];
      }}
    >
      <Icon name={now} />
    </button>
  );
}

/** Two parents' parts in one body. */
function Mark() {
  return (
    <svg class="mark" viewBox="0 0 20 20" aria-hidden="true">
      <path class="mark-a" d="M1 1h8v8H1zM11 11h8v8h-8z" />
      <path class="mark-b" d="M11 1h8v8h-8z" />
      <path class="mark-c" d="M1 11h8v8H1z" />
    </svg>
  );
}
