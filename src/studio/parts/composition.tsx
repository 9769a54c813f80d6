/** Where the parameters of a checkpoint are: by role, by dtype, by layer; as pictures, and as tables for whoever reads those. */
import type { InspectReport } from "../../server/api.ts";
import { formatBytes, formatCount, formatLarge, formatShare } from "../logic/format.ts";
import { useWidth } from "../use-width.ts";
import { ShareBar } from "./share-bar.tsx";
import { Treemap } from "./treemap.tsx";

export function Composition({ report }: { report: InspectReport }) {
  const { byRole, byDtype, totals } = report;
  const named = byRole.map((each) => ({
    ...each,
    name: each.mtp && each.role !== "mtp" ? `${each.role}, MTP` : each.role,
  }));
  return (
    <section aria-labelledby="parameters">
      <h2 id="parameters">Parameters by role</h2>
      <Treemap
        label={`Parameters by role: ${named.map(({ name, elements }) => `${name} ${formatShare(elements / totals.elements)}`).join(", ")}`}
        areas={named.map(({ name, role, mtp, elements, bytes, tensors }) => ({
          name,
          tone: `${mtp ? "mtp-part " : ""}role-${role}`,
          size: elements,
          title: `${name}: ${formatLarge(elements)} parameters in ${formatCount(tensors)} tensors, ${formatBytes(bytes)}`,
          note: `${formatLarge(elements)} · ${formatShare(elements / totals.elements)}`,
        }))}
      />
      <ul class="legend">
        {named
          .filter(({ mtp }) => !mtp)
          .map(({ name, role, elements }) => (
            <li key={name}>
              <svg class={`swatch tile role-${role}`} viewBox="0 0 12 12" aria-hidden="true">
                <rect width="12" height="12" rx="2" />
              </svg>
              {name} <span class="soft">{formatShare(elements / totals.elements)}</span>
            </li>
          ))}
        {named.some(({ mtp }) => mtp) && <li class="soft">dashed: MTP layers</li>}
      </ul>
      <details class="fold">
        <summary>The same as a table</summary>
        <div class="scroll" tabIndex={0} role="group" aria-label="Parameters by role, table">
          <table>
            <thead>
              <tr>
                <th scope="col">Role</th>
                <th scope="col" class="number">
                  Parameters
                </th>
                <th scope="col" class="number">
                  Share
                </th>
                <th scope="col" class="number">
                  Tensors
                </th>
                <th scope="col" class="number">
                  Size
                </th>
              </tr>
            </thead>
            <tbody>
              {named.map(({ name, elements, tensors, bytes }) => (
                <tr key={name}>
                  <th scope="row">{name}</th>
                  <td class="number">{formatCount(elements)}</td>
                  <td class="number">{formatShare(elements / totals.elements)}</td>
                  <td class="number">{formatCount(tensors)}</td>
                  <td class="number">{formatBytes(bytes)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </details>
      <div class="halves">
        <div>
          <h3>By dtype</h3>
          <ShareBar
            label="Bytes by dtype"
            parts={byDtype.map(({ dtype, bytes, elements }, index) => ({
              name: dtype,
              tone: `s${index % 6}`,
              size: bytes,
              note: `${formatLarge(elements)}, ${formatBytes(bytes)}`,
            }))}
          />
        </div>
        <div>
          <h3>By layer</h3>
          <LayerBars report={report} />
        </div>
      </div>
    </section>
  );
}

/** Bytes of each layer, coloured by its kind. */
function LayerBars({ report: { byLayer, outsideLayers } }: { report: InspectReport }) {
  const [frame, width] = useWidth<HTMLDivElement>(400);
  const height = 84;
  const most = Math.max(1, ...byLayer.map(({ bytes }) => bytes));
  const step = Math.min(52, width / Math.max(1, byLayer.length));
  const kinds = [...new Set(byLayer.map(({ kind }) => kind))];
  const summary = kinds.map(
    (kind) => `${byLayer.filter((each) => each.kind === kind).length} ${NAMES[kind]}`,
  );
  return (
    <div ref={frame}>
      <svg
        width={width}
        height={height}
        viewBox={`0 0 ${width} ${height}`}
        role="img"
        aria-label={`Bytes by layer: ${summary.join(", ")}`}
      >
        {byLayer.map(({ layer, kind, bytes, tensors }, index) => {
          const tall = Math.max(1, (bytes / most) * (height - 2));
          return (
            <rect
              key={layer}
              class={`kind-${kind}`}
              x={index * step + (step > 6 ? 1 : 0)}
              y={height - tall}
              width={Math.max(1, step - (step > 6 ? 2 : 0.5))}
              height={tall}
            >
              <title>{`Layer ${layer}, ${NAMES[kind]}: ${formatBytes(bytes)}, ${formatCount(tensors)} tensors`}</title>
            </rect>
          );
        })}
      </svg>
      <ul class="legend">
        {kinds.map((kind, index) => (
          <li key={kind}>
            <svg class="swatch" viewBox="0 0 12 12" aria-hidden="true">
              <rect class={`kind-${kind}`} width="12" height="12" rx="2" />
            </svg>
            {summary[index]}
          </li>
        ))}
        <li class="soft">outside layers {formatBytes(outsideLayers.bytes)}</li>
      </ul>
    </div>
  );
}

const NAMES = { dense: "dense", moe: "with experts", mtp: "MTP", other: "other" };
