import { Page } from "../parts/page.tsx";
export function BuildPage({ id }: { id: string }) {
  return <Page title="Build">{id}</Page>;
}
