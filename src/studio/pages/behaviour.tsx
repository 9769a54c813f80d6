import { Page } from "../parts/page.tsx";
export function BehaviourPage() {
  return <Page title="Behaviour">Soon.</Page>;
}
