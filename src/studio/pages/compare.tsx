import { Page } from "../parts/page.tsx";
export function ComparePage() {
  return <Page title="Compare">Soon.</Page>;
}
