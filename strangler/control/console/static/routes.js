// SPDX-License-Identifier: Apache-2.0
// All routes, to be found by a word of their key, owner, upstream or stage.

import { html, useState } from "./dom.js";
import { rate, share } from "./format.js";
import { RouteRow } from "./now.js";
import { Empty } from "./parts.js";
import { useEdge } from "./store.js";

const SHOWN = 200;

export function Routes() {
  const { state } = useEdge("?routes=all");
  const [word, setWord] = useState(new URLSearchParams(location.search).get("q") || "");
  if (state?.for !== "?routes=all") return html`<${Find} word=${word} setWord=${setWord} said="Asking the edge …" />`;
  const wanted = word.toLowerCase().split(/\s+/).filter(Boolean);
  const found = state.routes.filter((route) => {
    const text = `${route.key} ${route.owner} ${route.target} ${route.stage.effective} ${route.action}`.toLowerCase();
    return wanted.every((one) => text.includes(one));
  });
  const busy = found.reduce((sum, route) => sum + (route.rate || 0), 0);
  const said = `${found.length} of ${state.routes_total}, ${rate(busy)}${state.observed.rate ? `, ${share(busy / state.observed.rate)} of all` : ""}`;
  return html`<${Find} word=${word} setWord=${setWord} said=${said}>
    ${found.length === 0 && html`<${Empty}>No route has all of these words.<//>`}
    <ol class="rows card">
      ${found.slice(0, SHOWN).map((route) => html`<${RouteRow} key=${route.key} route=${route} state=${state} />`)}
    </ol>
    ${found.length > SHOWN && html`<p class="more">The first ${SHOWN}. Another word narrows them down.</p>`}
  <//>`;
}

// The frame with the field, which is there to be written into before there are any routes.
function Find({ word, setWord, said, children }) {
  return html`<main class="single" id="main">
    <h1 tabindex="-1">Routes</h1>
    <search>
      <label class="field"><span class="visually-hidden">Find routes</span>
        <input type="search" id="find" placeholder="Find by path, owner, upstream or stage" value=${word}
          autocomplete="off" aria-describedby="found" onInput=${(event) => setWord(event.target.value)} />
      </label>
      <p class="more" id="found" role="status">${said}</p>
    </search>
    ${children}
  </main>`;
}
