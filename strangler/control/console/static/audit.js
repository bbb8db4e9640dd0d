// SPDX-License-Identifier: Apache-2.0
// Who changed what, when, why and from where: the newest first, and older ones on request.

import { html, useEffect, useState } from "./dom.js";
import { spoken } from "./format.js";
import { SignIn } from "./signin.js";
import { Empty, When } from "./parts.js";
import { ask, useEdge } from "./store.js";

const PAGE = 50;

// The entries of the audit, of one route where it is given: [entries, problem, older or null].
// Nobody is asked for them before somebody has signed in.
export function useAudit(route, turn, me) {
  const [entries, setEntries] = useState(null);
  const [problem, setProblem] = useState(null);
  const [rest, setRest] = useState(null);
  const query = route ? `&route=${encodeURIComponent(route)}` : "";
  async function more(before, kept) {
    try {
      const told = await ask(`/-/audit?limit=${PAGE}${query}${before ? `&before=${before}` : ""}`);
      setEntries([...kept, ...told.entries]);
      setRest(told.next ?? null);
      setProblem(null);
    } catch (wrong) {
      setProblem(wrong);
    }
  }
  useEffect(() => {
    if (me) more(null, []);
  }, [route, turn]);
  return [entries, problem, rest && (() => more(rest, entries))];
}

export function Audit() {
  const { state } = useEdge("?routes=0");
  const [word, setWord] = useState("");
  const [entries, problem, older] = useAudit(null, state?.me?.who, state?.me);
  const wanted = word.toLowerCase();
  const shown = (entries || []).filter((one) => !wanted || JSON.stringify(one).toLowerCase().includes(wanted));
  return html`<main class="single" id="main">
    <h1 tabindex="-1">Audit</h1>
    ${state && !state.me
      ? html`<div class="card padded"><${SignIn} title="Sign in to read the audit" done=${() => {}} /></div>`
      : problem
        ? html`<p class="trouble" role="alert">${problem.message}</p>`
        : html`<search>
              <label class="field"><span class="visually-hidden">Find entries</span>
                <input type="search" id="find" placeholder="Find by name, route or reason" value=${word} autocomplete="off"
                  onInput=${(event) => setWord(event.target.value)} />
              </label>
            </search>
            <${Entries} entries=${shown} loading=${!entries} now=${state?.time || Date.now() / 1000} />
            ${older && html`<p><button type="button" onClick=${older}>Older</button></p>`}`}
  </main>`;
}

const VERBS = { "config.accepted": "put a new file in force", login: "signed in", logout: "signed out", purge: "purged", reload: "asked to read the file anew", "override.set": "set", "override.undo": "took back", "override.clear": "cleared", "override.expired": "ended by time:" };

// From where: `by` is console, cli or api; the browser's long name says little and is left out.
function where(from) {
  return [from.by && `by ${from.by}`, from.address && `from ${from.address}`].filter(Boolean).join(" ");
}

export function Entries({ entries, loading, now }) {
  if (loading) return html`<p class="empty">…</p>`;
  if (!entries.length) return html`<${Empty}>Nothing has been changed by hand.<//>`;
  return html`<ol class="rows card audit">
    ${entries.map(
      (one) => html`<li class="row" key=${one.at}>
        <div class="what">
          <p><b>${one.who || "nobody"}</b> ${VERBS[one.what] || one.what}${one.kind ? ` ${one.kind}` : ""} ${one.subject && html`<code>${one.subject.replace(/^(route|upstream|endpoint):/, "")}</code>`}</p>
          ${one.what.startsWith("override.") && html`<p class="say">${spoken(one.before ?? "the file")} → ${spoken(one.after ?? "the file")}</p>`}
          <p class="more">${one.reason && `“${one.reason}” `}<${When} at=${one.time} now=${now} />${one.from && `, ${where(one.from)}`}</p>
        </div>
      </li>`,
    )}
  </ol>`;
}
