/** Builds that this server has begun, for whoever comes back to them. */

import { formatBytes } from "../logic/format.ts";
import { href } from "../router.ts";
import { engine } from "../state.ts";
import { useLoaded } from "../use-loaded.ts";

export function BuildList() {
  const { value: builds } = useLoaded(() => engine().builds(), []);
  if (!builds || builds.length === 0) return null;
  return (
    <section aria-labelledby="builds">
      <h2 id="builds">Builds</h2>
      <ul class="plain">
        {builds.map(({ id, name, state, bytesDone, bytesTotal }) => (
          <li key={id}>
            <a href={href(["builds", id])}>{name}</a>{" "}
            <span class={`badge ${state === "failed" ? "failed" : state === "done" ? "ready" : ""}`}>
              {state}
            </span>{" "}
            <span class="soft">
              {formatBytes(bytesDone)} of {formatBytes(bytesTotal)}
            </span>
          </li>
        ))}
      </ul>
    </section>
  );
}
