/** Starts the studio over an engine in the page: for a folder of files that any server gives out. */
import { render } from "preact";
import { EngineClient } from "../browser/engine-client.ts";
import { App } from "../studio/app.tsx";
import type { StudioEngine } from "../studio/engine.ts";
import { startRouter } from "../studio/router.ts";
import { setEngine } from "../studio/state.ts";
import { startTheme } from "../studio/theme.ts";
import "../studio/styles/all.css";
import { BrowserEngine } from "./browser-engine.ts";

const client = new EngineClient(new URL("assets/engine-worker.js", document.baseURI));
startTheme();
startRouter("hash");
try {
  setEngine(await BrowserEngine.start(client, "models.json"));
} catch (error) {
  // Whatever is asked of it is what went wrong, and the page tells that.
  setEngine(new Proxy({}, { get: () => () => Promise.reject(error) }) as StudioEngine);
}
render(<App />, document.getElementById("app")!);
