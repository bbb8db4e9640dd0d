// SPDX-License-Identifier: Apache-2.0
// Sign in: a token for a cookie that scripts can't read.

import { html, useLayoutEffect, useRef, useState } from "./dom.js";
import { ask, refresh } from "./store.js";

export function SignIn({ title, done, close }) {
  const field = useRef(null);
  const [wrong, setWrong] = useState("");
  const [busy, setBusy] = useState(false);
  useLayoutEffect(() => field.current.focus(), []);

  async function submit(event) {
    event.preventDefault();
    if (busy) return;
    setBusy(true);
    try {
      await ask("/-/login", { token: field.current.value.trim() });
      await refresh();
      done();
    } catch (problem) {
      setWrong(problem.status === 401 ? "This is no token of this site." : problem.message);
      setBusy(false);
      field.current.select();
      field.current.focus();
    }
  }

  return html`<form onSubmit=${submit} aria-busy=${busy}>
    <h2 id="sheet-title">${title}</h2>
    <label class="field">Token
      <input ref=${field} name="token" type="password" required autocomplete="current-password"
        spellcheck=${false} aria-describedby="token-help sheet-wrong" />
    </label>
    <p id="token-help" class="more">
      The first start wrote one to <code>admin.token</code> in the edge's state folder; others are
      made by <code>strangler token</code>.
    </p>
    <p id="sheet-wrong" class="trouble" role="alert">${wrong}</p>
    <footer>
      ${close && html`<button type="button" onClick=${close}>Cancel</button>`}
      <button type="submit" class="primary" disabled=${busy}>Sign in</button>
    </footer>
  </form>`;
}
