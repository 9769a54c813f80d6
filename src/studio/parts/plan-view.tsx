/** What a recipe would do: bytes, disk, memory, time, and what each parent gives. */
import type { PlanSummary } from "../../server/api.ts";
import { formatBytes, formatCount, formatLarge, formatSeconds, formatShare } from "../logic/format.ts";

export function PlanView({ plan }: { plan: PlanSummary }) {
  const { tensors, elements, shards, writeBytes, readBytes, memoryBytes, workers, freeBytes, seconds } = plan;
  const lacks = freeBytes !== undefined && freeBytes < writeBytes;
  return (
    <div class="plan">
      <dl class="facts wide">
        <Fact name="Child" value={formatBytes(writeBytes)} note={`${formatLarge(elements)} parameters`} />
        <Fact
          name="Tensors"
          value={`${formatCount(tensors.merged)} merged`}
          note={`${formatCount(tensors.copied)} copied, ${shards} ${shards === 1 ? "shard" : "shards"}`}
        />
        <Fact name="Reads" value={formatBytes(readBytes)} />
        <Fact
          name="Disk"
          value={freeBytes === undefined ? "not known" : `${formatBytes(freeBytes)} free`}
          note={lacks ? "not enough" : undefined}
          isBad={lacks}
        />
        <Fact
          name="Memory"
          value={formatBytes(memoryBytes)}
          note={`${workers} ${workers === 1 ? "worker" : "workers"}`}
        />
        <Fact name="Time" value={formatSeconds(seconds)} note="about" />
      </dl>
      <ParentShares plan={plan} />
      {plan.warnings.length > 0 && (
        <div class="warning">
          <strong>Worth knowing</strong>
          <ul class="problems">
            {plan.warnings.map((warning) => (
              <li key={warning}>{warning}</li>
            ))}
          </ul>
        </div>
      )}
      <p class="soft small">
        Plan <span class="mono hash">{plan.digest.slice(0, 16)}</span>
      </p>
    </div>
  );
}

function ParentShares({ plan: { parents, readBytes } }: { plan: PlanSummary }) {
  return (
    <div class="scroll" tabIndex={0} role="group" aria-label="What each parent gives">
      <table>
        <thead>
          <tr>
            <th scope="col">Parent</th>
            <th scope="col" class="number">
              Copied
            </th>
            <th scope="col" class="number">
              Merged
            </th>
            <th scope="col" class="number">
              Read
            </th>
            <th scope="col" class="number">
              Share
            </th>
          </tr>
        </thead>
        <tbody>
          {parents.map(({ name, copied, merged, readBytes: read, isBase }) => (
            <tr key={name}>
              <th scope="row">
                {name} {isBase && <span class="badge">base</span>}
              </th>
              <td class="number">{formatCount(copied)}</td>
              <td class="number">{formatCount(merged)}</td>
              <td class="number">{formatBytes(read)}</td>
              <td class="number">{formatShare(readBytes > 0 ? read / readBytes : 0)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

interface FactProps {
  name: string;
  value: string;
  note?: string | undefined;
  isBad?: boolean;
}

function Fact({ name, value, note, isBad }: FactProps) {
  return (
    <div>
      <dt>{name}</dt>
      <dd class={isBad ? "error-text" : undefined}>
        {value}
        {note && <span class="fact-note">{note}</span>}
      </dd>
    </div>
  );
}
