/** Starts the studio over the server that the page is from. */
import { render } from "preact";
import { App } from "./app.tsx";
import { createHttpEngine } from "./http-engine.ts";
import { askForKey } from "./parts/key-dialog.tsx";
import { startRouter } from "./router.ts";
import { setEngine } from "./state.ts";
import { startTalk } from "./talk-state.ts";
import { startTheme } from "./theme.ts";
import "./styles/all.css";

setEngine(createHttpEngine({ askForKey }));
startTheme();
startTalk();
startRouter("history");
render(<App />, document.getElementById("app")!);
