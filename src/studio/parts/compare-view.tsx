/** A comparison's report: maps of where things differ, a threshold by hand, and the tensors behind both. */
import { useMemo, useRef, useState } from "preact/hooks";
import type { CompareReport } from "../../server/api.ts";
import { colourScale } from "../logic/colours.ts";
import { formatBytes, formatCount, formatDistance } from "../logic/format.ts";
import { type Grid, gridOf, type Measure } from "../logic/heat-grid.ts";
import { thresholdsOf } from "../logic/threshold.ts";
import { href } from "../router.ts";
import { type CompareRow, CompareTensors } from "./compare-tensors.tsx";
import { ConfigDifferences } from "./config-differences.tsx";
import { DeltaPanel } from "./delta-panel.tsx";
import { HeatLegend } from "./heat-legend.tsx";
import { HeatMap } from "./heat-map.tsx";

interface Picked {
  title: string;
  rows: CompareRow[];
}

type Scope = "routed-experts" | "all";

export function CompareView({ report, base, other }: { report: CompareReport; base: string; other: string }) {
  const [measure, setMeasure] = useState<Measure>(report.measure);
  const hasExperts = report.byLayerExpert.length > 0;
  const [scope, setScope] = useState<Scope>(hasExperts ? "routed-experts" : "all");
  const [delta, setDelta] = useState(0);
  const [picked, setPicked] = useState<Picked | undefined>();
  const list = useRef<HTMLHeadingElement>(null);
  const thresholds = useMemo(() => {
    const rows = report.rows.filter(
      ({ role, mtp }) => scope === "all" || (role === "routed-experts" && !mtp),
    );
    return thresholdsOf(
      rows.map((row) => ({ distance: row[measure] ?? Number.POSITIVE_INFINITY, bytes: row.bytes })),
    );
  }, [report, measure, scope]);
  const { roles, experts, roleScale, expertScale } = useMemo(
    () => gridsOf(report, measure),
    [report, measure],
  );
  const most = useMemo(
    () =>
      [...report.rows].sort(
        (a, b) => (b[measure] ?? Number.POSITIVE_INFINITY) - (a[measure] ?? Number.POSITIVE_INFINITY),
      ),
    [report, measure],
  );

  const pick = (grid: Grid, kind: "role" | "expert") => (row: number, column: number) => {
    const { layer, mtp, name } = grid.rows[row]!;
    const what = grid.columns[column]!;
    const rows = report.rows.filter(
      (each) =>
        each.layer === layer &&
        each.mtp === mtp &&
        (kind === "role" ? each.role === what : String(each.expert) === what),
    );
    const where = layer === undefined ? "outside layers" : `layer ${name}`;
    setPicked({ title: kind === "role" ? `${what}, ${where}` : `Expert ${what}, ${where}`, rows });
    list.current?.scrollIntoView({ block: "nearest" });
  };
  const describe = (grid: Grid, kind: string) => (row: number, column: number) => {
    const cell = grid.cells[row * grid.columns.length + column];
    const { layer, name } = grid.rows[row]!;
    const where = `${layer === undefined ? "Outside layers" : `Layer ${name}`}, ${kind}${grid.columns[column]}`;
    if (!cell) return `${where}: nothing there`;
    const merged = cell.max > delta ? "" : cell.mean === 0 ? ", equal" : ", below δ";
    return `${where}: ${formatDistance(cell.mean)} (at most ${formatDistance(cell.max)}), ${cell.tensors} ${cell.tensors === 1 ? "tensor" : "tensors"}${merged}`;
  };
  return (
    <>
      <Summary report={report} />
      <div class="compare">
        <div class="compare-maps">
          <div class="compare-head">
            <fieldset class="choices">
              <legend class="hidden">Measure</legend>
              {(["rms", "relative"] as const).map((each) => (
                <label key={each} class="check">
                  <input
                    type="radio"
                    name="measure"
                    checked={measure === each}
                    onChange={() => {
                      setMeasure(each);
                      setDelta(0);
                    }}
                  />
                  {each === "rms" ? "RMS difference" : "relative to the base"}
                </label>
              ))}
            </fieldset>
          </div>
          <div class="compare-grids">
            <section aria-labelledby="by-role">
              <h2 id="by-role">Layers × roles</h2>
              <HeatMap
                label="Differences by layer and role"
                grid={roles}
                scale={roleScale}
                delta={delta}
                hasNamedColumns
                describe={describe(roles, "")}
                onPick={pick(roles, "role")}
              />
              {roleScale && <HeatLegend scale={roleScale} hasDelta={delta > 0} />}
            </section>
            {hasExperts && (
              <section aria-labelledby="by-expert">
                <h2 id="by-expert">Layers × experts</h2>
                <HeatMap
                  label="Differences by layer and expert"
                  grid={experts}
                  scale={expertScale}
                  delta={delta}
                  describe={describe(experts, "expert ")}
                  onPick={pick(experts, "expert")}
                />
                {expertScale && <HeatLegend scale={expertScale} hasDelta={delta > 0} />}
              </section>
            )}
          </div>
        </div>
        <aside class="compare-side" aria-labelledby="delta-title">
          <h2 id="delta-title">Threshold</h2>
          {hasExperts && (
            <label class="field">
              <span>Of</span>
              <select value={scope} onChange={(event) => setScope(event.currentTarget.value as Scope)}>
                <option value="routed-experts">routed experts</option>
                <option value="all">all tensors</option>
              </select>
            </label>
          )}
          <DeltaPanel thresholds={thresholds} delta={delta} onDelta={setDelta} />
          <a
            class="button primary"
            href={href(["assemble"], { base, other, threshold: delta > 0 ? delta : undefined, measure })}
          >
            Assemble with this δ
          </a>
        </aside>
      </div>
      <section aria-labelledby="tensors-title">
        <h2 id="tensors-title" ref={list}>
          {picked ? picked.title : "What differs most"}
        </h2>
        {picked && (
          <p>
            <button type="button" class="small" onClick={() => setPicked(undefined)}>
              Show all
            </button>
          </p>
        )}
        <CompareTensors rows={picked ? picked.rows : most} measure={measure} delta={delta} />
      </section>
      <ConfigDifferences report={report} />
    </>
  );
}

function gridsOf(report: CompareReport, measure: Measure) {
  const present = new Set(report.byLayerRole.map(({ role }) => role as string));
  const order = report.byRole.map(({ role }) => role as string);
  const roles = gridOf(report.byLayerRole, measure, {
    columns: [...new Set(order)].filter((role) => present.has(role)),
    columnOf: ({ role }) => role,
  });
  const numExperts = report.byLayerExpert.reduce((most, { expert }) => Math.max(most, expert + 1), 0);
  const experts = gridOf(report.byLayerExpert, measure, {
    columns: Array.from({ length: numExperts }, (_, expert) => String(expert)),
    columnOf: ({ expert }) => String(expert),
    rows: roles.rows,
  });
  // A scale each: experts differ by nearly the same amount, and the rest is what one looks for.
  const scaleFor = ({ cells }: Grid) => colourScale(cells.map((cell) => cell?.mean ?? 0));
  return { roles, experts, roleScale: scaleFor(roles), expertScale: scaleFor(experts) };
}

function Summary({ report }: { report: CompareReport }) {
  const { total, warnings, sample } = report;
  return (
    <>
      {warnings.length > 0 && (
        <section class="warning" aria-label="Warnings">
          <ul class="problems">
            {warnings.map((warning) => (
              <li key={warning}>{warning}</li>
            ))}
          </ul>
        </section>
      )}
      <section aria-label="In all">
        <dl class="facts wide">
          <div>
            <dt>Shared tensors</dt>
            <dd>{formatCount(total.tensors)}</dd>
          </div>
          <div>
            <dt>Identical bytes</dt>
            <dd>{formatCount(total.identical)}</dd>
          </div>
          <div>
            <dt>Size</dt>
            <dd>{formatBytes(total.bytes)}</dd>
          </div>
          <div>
            <dt>RMS difference</dt>
            <dd>{formatDistance(total.rms.mean)}</dd>
          </div>
          <div>
            <dt>Relative</dt>
            <dd>{formatDistance(total.relative.mean)}</dd>
          </div>
          {sample !== null && (
            <div>
              <dt>Sample</dt>
              <dd>
                {sample} {sample === 1 ? "piece" : "pieces"} a tensor
              </dd>
            </div>
          )}
        </dl>
      </section>
    </>
  );
}
