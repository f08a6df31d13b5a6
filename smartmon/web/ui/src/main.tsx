import "uplot/dist/uPlot.min.css";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/layout.css";

import { render } from "preact";

import { App } from "./app";
import { startLive } from "./live";
import { startRouter } from "./router";
import { loadRuns, startStore } from "./store";
import { startTheme } from "./theme";

// After the sheets of all panels: what a thumb needs outranks their sizes.
import "./styles/touch.css";

startTheme();
startRouter();
startStore();
void loadRuns().then(startLive);
const root = document.getElementById("app")!;
// What stood there while this was loaded.
root.replaceChildren();
render(<App />, root);
