/** The frame of each page: its title, what it is for, and what can be done. */
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

export interface PageProps {
  title: string;
  /** One sentence. */
  lead?: ComponentChildren;
  /** Way back to the page above. */
  above?: { label: string; href: string };
  actions?: ComponentChildren;
  children: ComponentChildren;
}

export function Page({ title, lead, above, actions, children }: PageProps) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${title} · Chimera`;
    // Screen readers begin at the new page; the first page leaves the focus where the browser has it.
    if (document.body.dataset.moved) heading.current?.focus({ preventScroll: true });
    document.body.dataset.moved = "yes";
  }, [title]);
  return (
    <main class="page" id="main">
      <header class="page-head">
        <div>
          {above && (
            <a class="above" href={above.href}>
              ← {above.label}
            </a>
          )}
          <h1 ref={heading} tabIndex={-1}>
            {title}
          </h1>
          {lead && <p class="lead">{lead}</p>}
        </div>
        {actions && <div class="actions">{actions}</div>}
      </header>
      {children}
    </main>
  );
}
