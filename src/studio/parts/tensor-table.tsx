/**
 * The tensors of a checkpoint, 92,000 of them if need be: only rows in sight are there, and they are asked for by pages. To
 * assistive technology it is a table of so many rows (aria-rowcount) of which it has some.
 */
import { useEffect, useRef, useState } from "preact/hooks";
import type { TensorRow } from "../../server/api.ts";
import { formatBytes, formatCount } from "../logic/format.ts";
import { engine } from "../state.ts";
import { useLoaded, useSettled } from "../use-loaded.ts";
import { Fault } from "./notice.tsx";

export interface TensorTableProps {
  id: string;
  roles: readonly string[];
  dtypes: readonly string[];
  layers: readonly number[];
}

const ROW = 30;
const HEIGHT = 480;
const PAGE = 200;
const REST_MS = 60;

export function TensorTable({ id, roles, dtypes, layers }: TensorTableProps) {
  const [search, setSearch] = useState("");
  const [role, setRole] = useState("");
  const [dtype, setDtype] = useState("");
  const [layer, setLayer] = useState("");
  const settled = useSettled(search, 200);
  const query = { search: settled, role, dtype, layer };
  const key = JSON.stringify([id, query]);
  return (
    <>
      <div class="filters" role="search" aria-label="Tensors">
        <label class="field">
          <span>Name contains</span>
          <input
            type="search"
            value={search}
            placeholder="experts.3 up_proj"
            onInput={(event) => setSearch(event.currentTarget.value)}
          />
        </label>
        <Choice label="Role" value={role} values={roles} onChange={setRole} />
        <Choice label="Dtype" value={dtype} values={dtypes} onChange={setDtype} />
        <Choice label="Layer" value={layer} values={layers.map(String)} onChange={setLayer} />
      </div>
      <Rows key={key} id={id} query={query} />
    </>
  );
}

interface ChoiceProps {
  label: string;
  value: string;
  values: readonly string[];
  onChange: (value: string) => void;
  any?: string;
}

export function Choice({ label, value, values, onChange, any = "any" }: ChoiceProps) {
  return (
    <label class="field">
      <span>{label}</span>
      <select value={value} onChange={(event) => onChange(event.currentTarget.value)}>
        <option value="">{any}</option>
        {values.map((each) => (
          <option key={each} value={each}>
            {each}
          </option>
        ))}
      </select>
    </label>
  );
}

type Filter = { search: string; role: string; dtype: string; layer: string };

function Rows({ id, query }: { id: string; query: Filter }) {
  const pages = useRef(new Map<number, readonly TensorRow[]>());
  const [top, setTop] = useState(0);
  const [, setArrived] = useState(0);
  const [fault, setFault] = useState<unknown>();
  const first = useLoaded(() => engine().tensors(id, { ...query, offset: 0, limit: PAGE }), []);
  if (first.value) pages.current.set(0, first.value.rows);
  const total = first.value?.total ?? 0;
  const from = Math.max(0, Math.floor(top / ROW) - 5);
  const to = Math.min(total, from + Math.ceil(HEIGHT / ROW) + 10);
  const wanted = [...new Set([Math.floor(from / PAGE), Math.floor(Math.max(from, to - 1) / PAGE)])];
  useEffect(() => {
    const missing = total > 0 ? wanted.filter((page) => !pages.current.has(page)) : [];
    if (missing.length === 0) return undefined;
    const ask = (page: number) => {
      pages.current.set(page, []);
      engine()
        .tensors(id, { ...query, offset: page * PAGE, limit: PAGE })
        .then(({ rows }) => {
          pages.current.set(page, rows);
          setArrived((count) => count + 1);
        })
        .catch((error) => {
          pages.current.delete(page);
          setFault(error);
        });
    };
    // Pages that only fly past are not asked for.
    const timer = setTimeout(() => missing.forEach(ask), REST_MS);
    return () => clearTimeout(timer);
  }, [wanted.join(), total]);
  if (first.error || fault) return <Fault error={first.error ?? fault} />;
  const rows = Array.from({ length: Math.max(0, to - from) }, (_, index) => from + index);
  return (
    <>
      <p class="soft" role="status">
        {first.value ? `${formatCount(total)} ${total === 1 ? "tensor" : "tensors"}` : "Reading headers …"}
      </p>
      <section
        class="rows"
        tabIndex={0}
        aria-label="List of tensors"
        onScroll={(event) => setTop(event.currentTarget.scrollTop)}
      >
        <table aria-rowcount={total + 1}>
          <thead>
            <tr aria-rowindex={1}>
              <th scope="col">Name</th>
              <th scope="col">Role</th>
              <th scope="col">Dtype</th>
              <th scope="col">Shape</th>
              <th scope="col" class="number">
                Size
              </th>
              <th scope="col">Shard</th>
            </tr>
          </thead>
          <tbody>
            <Gap rows={from} />
            {rows.map((index) => (
              <Row
                key={index}
                index={index}
                row={pages.current.get(Math.floor(index / PAGE))?.[index % PAGE]}
              />
            ))}
            <Gap rows={total - to} />
          </tbody>
        </table>
      </section>
    </>
  );
}

/** Holds the place of rows out of sight. */
function Gap({ rows }: { rows: number }) {
  if (rows <= 0) return null;
  return (
    <tr class="gap">
      <td colSpan={6} style={{ height: `${rows * ROW}px` }} />
    </tr>
  );
}

function Row({ index, row }: { index: number; row: TensorRow | undefined }) {
  if (!row)
    return (
      <tr aria-rowindex={index + 2}>
        <td colSpan={6} class="soft">
          …
        </td>
      </tr>
    );
  const { name, role, dtype, shape, byteLength, shard } = row;
  return (
    <tr aria-rowindex={index + 2}>
      <td class="mono">{name}</td>
      <td>{role}</td>
      <td class="mono">{dtype}</td>
      <td class="mono">{shape.length === 0 ? "scalar" : shape.join(" × ")}</td>
      <td class="number">{formatBytes(byteLength)}</td>
      <td class="mono soft">{shard}</td>
    </tr>
  );
}
