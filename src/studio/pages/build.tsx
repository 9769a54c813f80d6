/** A build on its way: how far it is, how fast, how long it will take; and its end, the child's page. */
import { useEffect, useRef, useState } from "preact/hooks";
import type { BuildState } from "../../server/api.ts";
import { formatBytes, formatSeconds, formatShare } from "../logic/format.ts";
import { addSample, rateOf, type Sample } from "../logic/rate.ts";
import { Fault, Waiting } from "../parts/notice.tsx";
import { Page } from "../parts/page.tsx";
import { go, href } from "../router.ts";
import { engine, refresh } from "../state.ts";

export function BuildPage({ id }: { id: string }) {
  const [build, setBuild] = useState<BuildState | undefined>();
  const [fault, setFault] = useState<unknown>();
  const [watch, setWatch] = useState(0);
  const samples = useRef<Sample[]>([]);
  useEffect(() => {
    const controller = new AbortController();
    const onState = (state: BuildState) => {
      samples.current = addSample(samples.current, {
        seconds: state.seconds,
        bytes: state.bytesDone,
      });
      setBuild(state);
      if (state.state === "done") void arrive(state.name);
    };
    engine()
      .watchBuild(id, { onState, signal: controller.signal })
      .catch((error) => {
        if (!controller.signal.aborted) setFault(error);
      });
    return () => controller.abort();
  }, [id, watch]);

  const act = async (action: () => Promise<BuildState>) => {
    setFault(undefined);
    try {
      setBuild(await action());
      setWatch((count) => count + 1);
    } catch (error) {
      setFault(error);
    }
  };
  const remove = async () => {
    try {
      await engine().removeBuild(id);
      go(["assemble"]);
    } catch (error) {
      setFault(error);
    }
  };
  return (
    <Page
      title={build ? `Building ${build.name}` : "Build"}
      above={{ label: "Assemble", href: href(["assemble"]) }}
    >
      <Fault error={fault} />
      {!build && !fault && <Waiting what="Asking for the build" />}
      {build && <Progress build={build} rate={rateOf(samples.current)} />}
      {build?.error && <Fault error={new Error(build.error.message)} title="The build has failed" />}
      {build && (
        <div class="actions">
          {build.state === "running" && (
            <button type="button" onClick={() => void act(() => engine().pauseBuild(id))}>
              Pause
            </button>
          )}
          {(build.state === "paused" || build.state === "failed") && (
            <button type="button" class="primary" onClick={() => void act(() => engine().resumeBuild(id))}>
              Go on
            </button>
          )}
          {build.state !== "done" && (
            <button type="button" onClick={() => void remove()}>
              Stop and remove
            </button>
          )}
          {build.state === "done" && (
            <a class="button primary" href={href(["checkpoints", build.name])}>
              To the child
            </a>
          )}
        </div>
      )}
    </Page>
  );
}

async function arrive(name: string): Promise<void> {
  await refresh();
  go(["checkpoints", name], {}, { replace: true });
}

function Progress({ build, rate }: { build: BuildState; rate: number | undefined }) {
  const { state, bytesDone, bytesTotal, shardsDone, shardsTotal, seconds } = build;
  const share = bytesTotal > 0 ? bytesDone / bytesTotal : 0;
  const left = rate && state === "running" ? (bytesTotal - bytesDone) / rate : undefined;
  return (
    <section aria-label="Progress">
      <progress max={bytesTotal} value={bytesDone} aria-label="Bytes written" />
      <dl class="facts wide">
        <div>
          <dt>State</dt>
          <dd aria-live="polite">{state}</dd>
        </div>
        <div>
          <dt>Written</dt>
          <dd>
            {formatBytes(bytesDone)} of {formatBytes(bytesTotal)} ({formatShare(share)})
          </dd>
        </div>
        <div>
          <dt>Shards</dt>
          <dd>
            {shardsDone} of {shardsTotal}
          </dd>
        </div>
        <div>
          <dt>Rate</dt>
          <dd>{rate ? `${formatBytes(rate)}/s` : "—"}</dd>
        </div>
        <div>
          <dt>Time left</dt>
          <dd>{left === undefined ? "—" : formatSeconds(left)}</dd>
        </div>
        <div>
          <dt>So far</dt>
          <dd>{formatSeconds(seconds)}</dd>
        </div>
      </dl>
    </section>
  );
}
