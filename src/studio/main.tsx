/** Starts the studio over the server that the page is from. */
import { render } from "preact";
import { App } from "./app.tsx";
import { createHttpEngine } from "./http-engine.ts";
import { askForKey } from "./parts/key-dialog.tsx";
import { startRouter } from "./router.ts";
import { setEngine } from "./state.ts";
import { startTalk } from "./talk-state.ts";
import { startTheme } from "./theme.ts";
import "./styles/base.css";
import "./styles/controls.css";
import "./styles/parts.css";
import "./styles/assemble.css";
import "./styles/compare.css";
import "./styles/pages.css";
import "./styles/plots.css";

setEngine(createHttpEngine({ askForKey }));
startTheme();
startTalk();
startRouter("history");
render(<App />, document.getElementById("app")!);
