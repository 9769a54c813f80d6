/** What a child says of its descent. */
import type { InspectReport } from "../../server/api.ts";
import { href } from "../router.ts";
import { checkpoints } from "../state.ts";
import { CodeView } from "./code-view.tsx";

type Descent = NonNullable<InspectReport["lineage"]>;

export function Lineage({ lineage }: { lineage: Descent }) {
  const { tool, base, parents, recipe, recipeFile, planDigest } = lineage;
  const served = new Set((checkpoints.value ?? []).map(({ id }) => id));
  return (
    <section aria-labelledby="lineage">
      <h2 id="lineage">Lineage</h2>
      <ol class="lineage">
        {parents.map(({ name, location, revision, digest }) => {
          const place = location?.split("/").at(-1) ?? name;
          const id = [place, name].find((each) => served.has(each));
          return (
            <li key={name} class="parent">
              <strong>{id ? <a href={href(["checkpoints", id])}>{name}</a> : name}</strong>
              {name === base && <span class="badge">base</span>}
              {location && <span class="mono soft"> {location}</span>}
              {revision && <span class="mono soft"> @ {revision}</span>}
              {digest && <span class="mono soft hash">{digest}</span>}
            </li>
          );
        })}
      </ol>
      <dl class="facts wide">
        {tool && (
          <div>
            <dt>Built by</dt>
            <dd>{tool}</dd>
          </div>
        )}
        {planDigest && (
          <div class="long">
            <dt>Plan</dt>
            <dd class="mono hash">{planDigest}</dd>
          </div>
        )}
      </dl>
      {recipe && (
        <details class="fold" open>
          <summary>Recipe{recipeFile ? `, ${recipeFile}` : ""}</summary>
          <CodeView label="Recipe" text={recipe} />
        </details>
      )}
    </section>
  );
}
