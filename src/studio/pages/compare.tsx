/** Two parents: which are chosen, the comparison on its way, and then its report. */
import { useEffect, useState } from "preact/hooks";
import type { CompareReport, CompareStep } from "../../server/api.ts";
import { formatBytes, formatCount, formatShare } from "../logic/format.ts";
import { CompareView } from "../parts/compare-view.tsx";
import { Fault } from "../parts/notice.tsx";
import { Page } from "../parts/page.tsx";
import { address, go } from "../router.ts";
import { checkpoints, engine } from "../state.ts";

type Progress = Extract<CompareStep, { kind: "progress" }>;

/** The last report, for whoever comes back to the page. */
let kept: { key: string; report: CompareReport } | undefined;

export function ComparePage() {
  const { query } = address.value;
  const stored = (checkpoints.value ?? []).filter(({ kind }) => kind === "checkpoint").map(({ id }) => id);
  const base = query.get("base") ?? "";
  const other = query.get("other") ?? "";
  const sample = Number(query.get("sample") ?? 0);
  const isAsked = base !== "" && other !== "";
  const key = JSON.stringify([base, other, sample]);
  const [report, setReport] = useState<CompareReport | undefined>();
  const [progress, setProgress] = useState<Progress | undefined>();
  const [fault, setFault] = useState<unknown>();
  useEffect(() => {
    setFault(undefined);
    setProgress(undefined);
    setReport(kept?.key === key ? kept.report : undefined);
    if (!isAsked || kept?.key === key) return undefined;
    const controller = new AbortController();
    engine()
      .compare(
        { base, other, ...(sample > 0 ? { sample } : {}) },
        {
          signal: controller.signal,
          onStep: (step) => {
            if (step.kind === "progress") setProgress(step);
          },
        },
      )
      .then((found) => {
        kept = { key, report: found };
        if (!controller.signal.aborted) setReport(found);
      })
      .catch((error) => {
        if (!controller.signal.aborted) setFault(error);
      });
    return () => controller.abort();
  }, [key]);
  return (
    <Page title="Compare" lead="Where two checkpoints differ, and how much of it a build would merge.">
      <Choose stored={stored} base={base} other={other} sample={sample} />
      <Fault error={fault} title="The comparison has ended" />
      {isAsked && !report && !fault && <Measuring progress={progress} />}
      {!isAsked && <p class="soft">Choose two checkpoints of one architecture.</p>}
      {report && <CompareView key={key} report={report} base={base} other={other} />}
    </Page>
  );
}

interface ChooseProps {
  stored: readonly string[];
  base: string;
  other: string;
  sample: number;
}

function Choose({ stored, base, other, sample }: ChooseProps) {
  const select = (name: string, label: string, value: string) => (
    <label class="field">
      <span>{label}</span>
      <select name={name} value={value}>
        {stored.map((id) => (
          <option key={id}>{id}</option>
        ))}
      </select>
    </label>
  );
  return (
    <form
      class="filters"
      key={`${base} ${other}`}
      onSubmit={(event) => {
        event.preventDefault();
        const data = new FormData(event.currentTarget);
        const value = (name: string) => String(data.get(name) ?? "");
        go(["compare"], { base: value("base"), other: value("other"), sample: value("sample") });
      }}
    >
      {select("base", "Base", base || (stored[0] ?? ""))}
      {select("other", "Other", other || (stored[1] ?? ""))}
      <label class="field">
        <span>Look at</span>
        <select name="sample" value={sample > 0 ? String(sample) : ""}>
          <option value="">every element</option>
          <option value="4">4 pieces of each tensor</option>
          <option value="1">1 piece of each tensor</option>
        </select>
      </label>
      <button type="submit" class="primary" disabled={stored.length < 2}>
        Compare
      </button>
    </form>
  );
}

function Measuring({ progress }: { progress: Progress | undefined }) {
  const { bytesDone = 0, bytesTotal = 1, tensorsDone = 0, tensorsTotal = 0 } = progress ?? {};
  return (
    <section aria-label="Progress">
      <progress max={bytesTotal} value={bytesDone} aria-label="Bytes read" />
      <p class="soft" role="status">
        {progress
          ? `${formatCount(tensorsDone)} of ${formatCount(tensorsTotal)} tensors, ${formatBytes(bytesDone)} of ${formatBytes(bytesTotal)} (${formatShare(bytesDone / bytesTotal)})`
          : "Reading headers"}
      </p>
    </section>
  );
}
