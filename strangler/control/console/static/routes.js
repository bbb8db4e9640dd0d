// SPDX-License-Identifier: Apache-2.0
// All routes, to be found by a word of their key, owner, upstream or stage.

import { html, useEffect, useState } from "./dom.js";
import { rate, share } from "./format.js";
import { RouteRow } from "./now.js";
import { Empty } from "./parts.js";
import { useEdge } from "./store.js";

const SHOWN = 100;

export function Routes() {
  const [word, setWord] = useState(new URLSearchParams(location.search).get("q") || "");
  const [asked, setAsked] = useState(word);
  const { state } = useEdge(`?routes=${SHOWN}&find=${encodeURIComponent(asked)}`);
  useEffect(() => {
    const later = setTimeout(() => setAsked(word.trim()), 150);
    return () => clearTimeout(later);
  }, [word]);
  const found = state?.routes_found;
  if (!found || !state.for.includes("&find=")) return html`<${Find} word=${word} setWord=${setWord} said="Asking the edge …" />`;
  const all = state.observed.rate;
  const said = `${found.count} of ${state.routes_total}, ${rate(found.rate)}${all && asked ? `, ${share(Math.min(1, found.rate / all))} of all` : ""}`;
  return html`<${Find} word=${word} setWord=${setWord} said=${said}>
    ${found.count === 0 && html`<${Empty}>No route has all of these words.<//>`}
    <ol class="rows card">
      ${state.routes.map((route) => html`<${RouteRow} key=${route.key} route=${route} state=${state} />`)}
    </ol>
    ${found.count > SHOWN && html`<p class="more">The first ${SHOWN}. Another word narrows them down.</p>`}
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
