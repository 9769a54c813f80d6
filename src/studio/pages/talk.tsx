import { Page } from "../parts/page.tsx";
export function TalkPage() {
  return <Page title="Talk">Soon.</Page>;
}
