/** One checkpoint: what it consists of, tensor by tensor, what lies beside it, and what it came from. */
import type { InspectReport } from "../../server/api.ts";
import { formatBytes, formatCount, formatLarge } from "../logic/format.ts";
import { Composition } from "../parts/composition.tsx";
import { FileFolds } from "../parts/file-folds.tsx";
import { Lineage } from "../parts/lineage.tsx";
import { Fault, ProblemList, Waiting } from "../parts/notice.tsx";
import { Page } from "../parts/page.tsx";
import { TensorTable } from "../parts/tensor-table.tsx";
import { href } from "../router.ts";
import { checkpoints, engine } from "../state.ts";
import { useLoaded } from "../use-loaded.ts";
import { ChildPage } from "./child.tsx";

export function CheckpointPage({ id }: { id: string }) {
  const entry = checkpoints.value?.find((each) => each.id === id);
  if (entry?.kind === "child") return <ChildPage entry={entry} />;
  return <StoredPage id={id} />;
}

function StoredPage({ id }: { id: string }) {
  const { value: report, error } = useLoaded(() => engine().inspect(id), [id]);
  const others = (checkpoints.value ?? []).filter((each) => each.kind === "checkpoint" && each.id !== id);
  return (
    <Page
      title={id}
      lead={report ? leadOf(report) : undefined}
      above={{ label: "Checkpoints", href: href([]) }}
      actions={
        <>
          <a class="button" href={href(["talk"], { models: id })}>
            Talk
          </a>
          {others[0] && (
            <a class="button" href={href(["compare"], { base: id, other: others[0].id })}>
              Compare
            </a>
          )}
        </>
      }
    >
      <Fault error={error} title={`"${id}" cannot be shown`} />
      {!report && !error && <Waiting what="Reading headers" />}
      {report && <Report id={id} report={report} />}
    </Page>
  );
}

function leadOf({ architecture, totals, shards }: InspectReport): string {
  const files = `${shards.count} ${shards.count === 1 ? "shard" : "shards"}`;
  return `${architecture.label}, ${formatLarge(totals.elements)} parameters, ${formatBytes(totals.bytes)} in ${files}`;
}

function Report({ id, report }: { id: string; report: InspectReport }) {
  const { problems, byRole, byDtype, byLayer } = report;
  return (
    <>
      {problems.length > 0 && (
        <section class="warning" aria-label="Findings">
          <strong>{problems.length === 1 ? "One finding" : `${problems.length} findings`}</strong>
          <ProblemList problems={problems} />
        </section>
      )}
      <section aria-labelledby="sizes">
        <h2 id="sizes">Shape</h2>
        <Facts report={report} />
      </section>
      {report.lineage && <Lineage lineage={report.lineage} />}
      <Composition report={report} />
      <section aria-labelledby="tensors">
        <h2 id="tensors">Tensors</h2>
        <TensorTable
          id={id}
          roles={[...new Set(byRole.map(({ role }) => role))]}
          dtypes={byDtype.map(({ dtype }) => dtype)}
          layers={byLayer.map(({ layer }) => layer)}
        />
      </section>
      <section aria-labelledby="files">
        <h2 id="files">Config, tokenizer, template</h2>
        <FileFolds id={id} report={report} />
      </section>
    </>
  );
}

function Facts({ report: { config, quantization, mtp, licences } }: { report: InspectReport }) {
  const facts: [string, string | undefined][] = [
    ["Layers", count(config?.layers)],
    ["MTP layers", mtp.declared > 0 ? String(mtp.declared) : undefined],
    ["Hidden size", count(config?.hiddenSize)],
    ["Routed experts", count(config?.routedExperts)],
    ["Experts per token", count(config?.expertsPerToken)],
    ["Shared experts", count(config?.sharedExperts)],
    ["Attention heads", count(config?.heads)],
    ["Vocabulary", count(config?.vocabulary)],
    ["Context", config?.context === undefined ? undefined : `${count(config.context)} tokens`],
    [
      "Quantization",
      quantization.kind === "fp8-block"
        ? `FP8, blocks of ${quantization.block?.join(" × ")}`
        : quantization.kind,
    ],
    ["Licence", licences.length > 0 ? licences.join(", ") : undefined],
  ];
  return (
    <dl class="facts wide">
      {facts.flatMap(([name, value]) =>
        value === undefined
          ? []
          : [
              <div key={name}>
                <dt>{name}</dt>
                <dd>{value}</dd>
              </div>,
            ],
      )}
    </dl>
  );
}

function count(value: number | undefined): string | undefined {
  return value === undefined ? undefined : formatCount(value);
}
