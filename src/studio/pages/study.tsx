import { Page } from "../parts/page.tsx";
export function StudyPage({ id }: { id: string }) {
  return <Page title="Study">{id}</Page>;
}
