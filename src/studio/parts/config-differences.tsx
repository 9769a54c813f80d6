/** What beside the weights two checkpoints differ in, and what only one of them has. */
import type { CompareReport } from "../../server/api.ts";
import { formatCount } from "../logic/format.ts";

const MOST = 50;

export function ConfigDifferences({ report }: { report: CompareReport }) {
  const { configDifferences, onlyInBase, onlyInOther, notCompared, base, other } = report;
  const apart: [string, readonly string[]][] = [
    [`only in ${base.label}`, onlyInBase],
    [`only in ${other.label}`, onlyInOther],
    ["cannot be compared", notCompared.map(({ name, base: a, other: b }) => `${name}: ${a}, ${b}`)],
  ];
  if (configDifferences.length === 0 && apart.every(([, names]) => names.length === 0))
    return <p class="soft">The configs agree, and both have the same tensors.</p>;
  return (
    <section aria-labelledby="apart">
      <h2 id="apart">Beside the weights</h2>
      {configDifferences.length > 0 && (
        <div class="scroll" tabIndex={0} role="group" aria-label="Differences of config.json">
          <table>
            <thead>
              <tr>
                <th scope="col">config.json</th>
                <th scope="col">{base.label}</th>
                <th scope="col">{other.label}</th>
                <th scope="col">Affects</th>
              </tr>
            </thead>
            <tbody>
              {configDifferences.map(({ key, base: a, other: b, affects }) => (
                <tr key={key}>
                  <th scope="row" class="mono">
                    {key}
                  </th>
                  <td class="mono">{shown(a)}</td>
                  <td class="mono">{shown(b)}</td>
                  <td>{affects}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {apart.map(([what, names]) =>
        names.length === 0 ? null : (
          <details key={what} class="fold">
            <summary>
              {formatCount(names.length)} {names.length === 1 ? "tensor" : "tensors"} {what}
            </summary>
            <ul class="plain mono">
              {names.slice(0, MOST).map((name) => (
                <li key={name}>{name}</li>
              ))}
              {names.length > MOST && <li>and {formatCount(names.length - MOST)} more</li>}
            </ul>
          </details>
        ),
      )}
    </section>
  );
}

function shown(value: unknown): string {
  return value === undefined ? "—" : JSON.stringify(value);
}
