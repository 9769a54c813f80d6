/** Tensors of a comparison: those of a cell, or those that differ most. */
import type { CompareReport } from "../../server/api.ts";
import { formatBytes, formatCount, formatDistance } from "../logic/format.ts";
import type { Measure } from "../logic/heat-grid.ts";

export type CompareRow = CompareReport["rows"][number];

const MOST = 30;

export interface CompareTensorsProps {
  rows: readonly CompareRow[];
  measure: Measure;
  delta: number;
}

export function CompareTensors({ rows, measure, delta }: CompareTensorsProps) {
  return (
    <div class="scroll" tabIndex={0} role="group" aria-label="Tensors, table">
      <table>
        <thead>
          <tr>
            <th scope="col">Tensor</th>
            <th scope="col">Dtype</th>
            <th scope="col" class="number">
              Size
            </th>
            <th scope="col" class="number">
              RMS
            </th>
            <th scope="col" class="number">
              Relative
            </th>
            <th scope="col">At δ</th>
          </tr>
        </thead>
        <tbody>
          {rows.slice(0, MOST).map((row) => (
            <tr key={row.name}>
              <td class="mono">{row.name}</td>
              <td class="mono">
                {row.dtype === row.otherDtype ? row.dtype : `${row.dtype} / ${row.otherDtype}`}
              </td>
              <td class="number">{formatBytes(row.bytes)}</td>
              <td class="number">{formatDistance(row.rms)}</td>
              <td class="number">{formatDistance(row.relative)}</td>
              <td>
                {row.identical ? (
                  <span class="soft">identical</span>
                ) : (row[measure] ?? Number.POSITIVE_INFINITY) > delta ? (
                  "merged"
                ) : (
                  <span class="soft">stays the base's</span>
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {rows.length > MOST && <p class="soft small">and {formatCount(rows.length - MOST)} more</p>}
    </div>
  );
}
