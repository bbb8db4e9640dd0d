// SPDX-License-Identifier: Apache-2.0
// What to edit in routes.yaml so that the file says itself what is in force: shown, to be copied.
// The edge never writes the file: it is reviewed as any other edit.

import { html, useRef, useState } from "./dom.js";
import { spoken } from "./format.js";
import { useAnswer } from "./store.js";

export function ToFile({ route, close }) {
  const query = route.key ? `?route=${encodeURIComponent(route.key)}` : "";
  const [told, problem] = useAnswer(`/-/overrides/patch${query}`);
  const [copied, setCopied] = useState("");
  const shown = useRef(null);

  async function copy() {
    try {
      await navigator.clipboard.writeText(told.patch);
      setCopied("Copied.");
    } catch {
      // Without TLS a browser gives no page of another machine its clipboard.
      getSelection().selectAllChildren(shown.current);
      setCopied("Selected: copy it.");
    }
  }

  return html`<form onSubmit=${(event) => event.preventDefault() || copy()} aria-busy=${!told && !problem}>
    <h2 id="sheet-title">Write it into routes.yaml<span class="visually-hidden">: </span><code>${route.key || "all that is in force"}</code></h2>
    ${problem && html`<p class="trouble" role="alert">${problem.message}</p>`}
    ${told && !told.patch && html`<p>${Object.keys(told.routes).length ? "The file says the same already: the override can be taken back." : "There is nothing that the file could say."}</p>`}
    ${told?.patch && html`<pre class="diff" tabindex="0" aria-label="The edit" ref=${shown}>${told.patch}</pre>
      <p class="more">For <code>git apply</code>, or let <code>strangler toggle --to-patch --write</code> do it. Undo the override when the file is in force.</p>`}
    ${told?.left_out.length > 0 && html`<p>Left out:</p><ul class="left-out">${told.left_out.map(
      (one) => html`<li key=${one.kind + one.subject}><b>${one.kind} ${spoken(one.value)}</b> <code>${one.subject.replace(/^(route|upstream|endpoint):/, "")}</code> <span class="more">${one.why}</span></li>`,
    )}</ul>`}
    <p class="more" role="status">${copied}</p>
    <footer>
      <button type="button" onClick=${close}>Close</button>
      <button type="submit" class="primary" disabled=${!told?.patch}>Copy the edit</button>
    </footer>
  </form>`;
}
