import { Page } from "../parts/page.tsx";
export function AssemblePage() {
  return <Page title="Assemble">Soon.</Page>;
}
