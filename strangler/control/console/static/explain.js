// SPDX-License-Identifier: Apache-2.0
// Which route takes a request, and why: nothing is sent to anybody.

import { html, useState } from "./dom.js";
import { Section } from "./parts.js";
import { ask } from "./store.js";

export function Explain({ route }) {
  const [told, setTold] = useState(null);
  const [wrong, setWrong] = useState("");
  async function submit(event) {
    event.preventDefault();
    const form = new FormData(event.target);
    const query = new URLSearchParams({ url: form.get("url"), method: form.get("method") });
    if (form.get("header")) query.append("header", form.get("header"));
    try {
      setTold(await ask(`/-/explain?${query}`));
      setWrong("");
    } catch (problem) {
      setTold(null);
      setWrong(problem.message);
    }
  }
  return html`<${Section} id="explain" title="Explain a request">
    <form class="explain" onSubmit=${submit}>
      <label class="field">Method
        <select name="method">${["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"].map((one) => html`<option key=${one}>${one}</option>`)}</select>
      </label>
      <label class="field grow">Path or URL
        <input name="url" required autocomplete="off" spellcheck=${false} defaultValue=${route.example} />
      </label>
      <label class="field grow">Header, if it matters
        <input name="header" autocomplete="off" spellcheck=${false} placeholder="Cookie: strangler_reader=…" />
      </label>
      <button type="submit">Explain</button>
    </form>
    <p class="trouble" role="alert">${wrong}</p>
    ${told && html`<pre tabindex="0" aria-label="The explanation">${told.lines.join("\n")}</pre>`}
  <//>`;
}
