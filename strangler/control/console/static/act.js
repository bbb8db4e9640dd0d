// SPDX-License-Identifier: Apache-2.0
// The buttons: what each does, the sheet that shows what it would change and asks for a reason and
// a time, and the notice afterwards that offers to undo it.

import { html, useEffect, useLayoutEffect, useRef, useState } from "./dom.js";
import { rate, share, spoken } from "./format.js";
import { SignIn } from "./signin.js";
import { Refused, ask, refresh, useAnswer, useEdge } from "./store.js";

const TIMES = [
  ["15m", "15 min"],
  ["30m", "30 min"],
  ["2h", "2 h"],
  ["8h", "8 h"],
];

const subject = (on) => (on.key ? `route:${on.key}` : "site");
const stage = (value) => (route) => ({ kind: "stage", subject: `route:${route.key}`, value });

// name: what its sheet says and what is sent. `choices` asks for a value first; `path` is where it
// is posted if it is no plain override, `preview` then the override that it comes to; `rollout` is
// what the sheet shows of the route's rollout; `timed` false: it has no end of its own; `bare`: it
// asks neither why nor for how long.
const ACTIONS = {
  legacy: {
    title: (route) => ["Back to legacy", route.key],
    verb: "Back to legacy",
    danger: true,
    path: "/-/back",
    body: (route) => ({ route: route.key, to: "legacy" }),
    preview: stage("legacy"),
    rollout: "readiness",
    reason: (route) => (route.verdict && route.verdict !== "good" && route.why) || "",
    done: (route) => `${route.key} is back on legacy`,
  },
  stage: {
    title: (route) => ["Set the stage", route.key],
    verb: "Set it",
    choices: (route) => ["legacy", "shadow 10%", "canary 1%", "canary 5%", "canary 10%", "canary 25%", "canary 50%", "live"].filter((one) => one !== route.stage.effective),
    free: "or another, such as canary 15%",
    body: (route, value) => stage(value)(route),
    done: (route, value) => `${route.key} is ${value}`,
  },
  promote: {
    title: (route) => ["Promote", route.key],
    verb: "Promote",
    path: "/-/promote",
    timed: false,
    rollout: "next",
    body: (route) => ({ route: route.key }),
    done: (route) => `${route.key} goes on a step`,
  },
  hold: {
    title: (route) => ["Hold", route.key],
    verb: "Hold",
    path: "/-/hold",
    body: (route) => ({ route: route.key }),
    done: (route) => `${route.key} stays where it is`,
  },
  back: {
    title: (route) => ["One step back", route.key],
    verb: "One step back",
    path: "/-/back",
    rollout: "back",
    body: (route) => ({ route: route.key }),
    done: (route) => `${route.key} is one step back`,
  },
  cache: {
    title: (on) => ["Cache mode", on.key || "the whole site"],
    verb: "Set it",
    choices: () => ["stale_only", "archive_only", "bypass"],
    told: { stale_only: "serve what is stored, ask nobody", archive_only: "serve the archive's copies", bypass: "store and serve nothing" },
    body: (on, value) => ({ kind: "cache", subject: subject(on), value }),
    done: (on, value) => `${on.key || "The site"}: cache ${value}`,
  },
  maintenance: {
    title: (on) => ["Maintenance page", on.key || "the whole site"],
    verb: "Show the page",
    danger: true,
    body: (on) => ({ kind: "maintenance", subject: subject(on), value: true }),
    done: (on) => `${on.key || "The site"} shows the maintenance page`,
  },
  drain: {
    title: (upstream) => ["Drain", upstream.name],
    verb: "Drain",
    danger: true,
    choices: (upstream) => (upstream.endpoints.length > 1 ? [...upstream.endpoints, "all of it"] : ["all of it"]),
    body: (upstream, value) => ({ kind: "drain", subject: value === "all of it" ? `upstream:${upstream.name}` : `endpoint:${upstream.name} ${value}`, value: true }),
    done: (upstream, value) => `${value === "all of it" ? upstream.name : value} gets nothing new`,
  },
  priority: {
    title: (route) => ["Priority", route.key],
    verb: "Set it",
    choices: () => ["low", "normal", "high"],
    told: { low: "the first to be refused when the edge is short", normal: "as the file says nothing", high: "the last to be refused" },
    body: (route, value) => ({ kind: "priority", subject: `route:${route.key}`, value }),
    done: (route, value) => `${route.key}: priority ${value}`,
  },
  purge: {
    title: (route) => ["Purge", route.key],
    verb: "Purge",
    danger: true,
    path: "/-/purge",
    bare: true,
    choices: () => ["make stale", "remove"],
    told: { "make stale": "asked for anew; where nobody answers, the old copy still serves", remove: "gone from every tier" },
    body: (route, value) => ({ route: route.key, soft: value === "make stale" }),
    done: (route) => `${route.key} is purged`,
  },
  breaker: {
    title: (upstream) => ["Force the breaker", upstream.name],
    verb: "Force it",
    choices: () => ["forced_open", "forced_closed"],
    told: { forced_open: "ask it nothing: fall back at once", forced_closed: "ask it, whatever it answers" },
    body: (upstream, value) => ({ kind: "breaker", subject: `upstream:${upstream.name}`, value }),
    done: (upstream, value) => `${upstream.name}: breaker ${value}`,
  },
  freeze: {
    title: () => ["Freeze all stage moves", "the whole site"],
    verb: "Freeze",
    body: () => ({ kind: "freeze", subject: "site", value: true }),
    done: () => "No stage moves by itself",
  },
  shadows: {
    title: () => ["Stop all shadows", "the whole site"],
    verb: "Stop them",
    body: () => ({ kind: "shadows", subject: "site", value: "stop" }),
    done: () => "No request is copied",
  },
};

let open = () => {};
let notify = () => {};

// Open the sheet of an action on a route or upstream of the document; on nothing, for the site.
export function act(name, on = {}) {
  open({ name, on, turn: Date.now() });
}

// Undo an override at once: it was asked for once, and only restores.
export async function undo(override) {
  const what = `${override.subject.replace(/^\w+:/, "")} ${override.kind} ${spoken(override.value)}`;
  try {
    await ask("/-/overrides/undo", { id: override.id, reason: "undone from the console" });
    notify({ text: `Undone: ${what}` });
  } catch (problem) {
    if (problem instanceof Refused && problem.status === 401) {
      return open({ name: "undo", on: override, turn: Date.now() });
    }
    notify({ text: `Not undone: ${problem.message}`, bad: true });
  }
  refresh();
}

// ---------------------------------------------------------------- the sheet

export function Sheet() {
  const [asked, setAsked] = useState(null);
  const { state } = useEdge();
  const dialog = useRef(null);
  open = setAsked;
  // Before the form's own effects, which say where the focus belongs.
  useLayoutEffect(() => {
    if (asked && !dialog.current.open) dialog.current.showModal();
    if (!asked && dialog.current.open) dialog.current.close();
  }, [asked]);
  const close = () => setAsked(null);
  return html`<dialog ref=${dialog} class="sheet" onClose=${close} aria-labelledby=${asked ? "sheet-title" : undefined}
    onClick=${(event) => event.target === dialog.current && close()}>
    ${asked && html`<${Asking} key=${asked.turn} asked=${asked} state=${state} close=${close} />`}
  </dialog>`;
}

function Asking({ asked, state, close }) {
  if (asked.name === "signin" || !state?.me) {
    const title = asked.name === "signin" ? "Sign in" : "Sign in first";
    const then = () => {
      if (asked.name === "signin") close();
      if (asked.name === "undo") close() || undo(asked.on);
    };
    return html`<${SignIn} title=${title} done=${then} close=${close} />`;
  }
  if (asked.name === "signin" || asked.name === "undo") return null;
  return html`<${Form} action=${ACTIONS[asked.name]} on=${asked.on} state=${state} close=${close} />`;
}

function Form({ action, on, state, close }) {
  const choices = action.choices?.(on);
  const [value, setValue] = useState(choices?.[0]);
  const [free, setFree] = useState("");
  const [time, setTime] = useState("30m");
  const [reason, setReason] = useState(action.reason?.(on) || "");
  const [preview, setPreview] = useState(null);
  const [busy, setBusy] = useState(false);
  const [wrong, setWrong] = useState("");
  const form = useRef(null);
  const field = useRef(null);
  const button = useRef(null);
  const [title, named] = action.title(on);
  const chosen = free.trim() || value;
  const [rollout] = useAnswer(action.rollout ? `/-/rollout?route=${encodeURIComponent(on.key)}` : null);
  const [force, setForce] = useState(false);
  const [version, setVersion] = useState(state.overrides_version);
  const previewed = action.preview || (!action.path && action.body);

  useEffect(() => {
    // A finger that has just tapped wants no keyboard over the sheet.
    if (choices?.length > 1) return form.current.querySelector("input").focus();
    if (action.bare) return button.current.focus();
    if (reason && !matchMedia("(pointer: fine)").matches) return button.current.focus();
    field.current.focus();
    field.current.select();
  }, []);

  useEffect(() => {
    if (!previewed) return;
    let wanted = true;
    const body = { ...previewed(on, chosen), for: time, reason: reason.trim() || "preview" };
    const later = setTimeout(
      () =>
        ask("/-/overrides/preview", body).then(
          (told) => wanted && setPreview(told),
          (problem) => wanted && setPreview({ problem: problem.message }),
        ),
      chosen === value ? 0 : 250,
    );
    return () => {
      wanted = false;
      clearTimeout(later);
    };
  }, [chosen, time]);

  async function submit(event) {
    event.preventDefault();
    if (busy) return;
    if (!action.bare && !reason.trim()) {
      setWrong("Say why: whoever reads the audit tomorrow will ask.");
      return field.current.focus();
    }
    setBusy(true);
    setWrong("");
    const body = action.body(on, chosen);
    if (!action.bare) body.reason = reason.trim();
    if (!action.bare && action.timed !== false) body.for = time;
    if (force) body.force = true;
    // Who else has changed something since the sheet was opened is told first.
    if (!action.path) body.if_version = version;
    try {
      const told = await ask(action.path || "/-/overrides", body);
      const workers = told.workers ? ` ${told.workers} workers` : "";
      const took = told.took_ms == null ? "" : `, ${Math.round(told.took_ms)} ms`;
      notify({ text: `${action.done(on, chosen)}.${workers}${took}`, id: told.override?.id, routes: told.routes, since: told.override?.created });
      close();
      refresh();
    } catch (problem) {
      // The session has ended: the sheet asks for the token again, and then comes back.
      if (problem.status === 401) return refresh();
      const current = problem.status === 409 && problem.document?.current;
      if (current) setVersion(current.version);
      setWrong(current ? "Somebody else has just changed an override. Look again; then the button counts." : problem.message);
      setBusy(false);
      if (current) refresh();
    }
  }

  return html`<form ref=${form} onSubmit=${submit} aria-busy=${busy}>
    <h2 id="sheet-title">${title}<span class="visually-hidden">: </span><code>${named}</code></h2>
    ${choices?.length > 1 &&
    html`<fieldset class="choices">
      <legend class="visually-hidden">To what</legend>
      ${choices.map(
        (one) => html`<label key=${one}><input type="radio" name="value" value=${one} checked=${!free && one === value}
          onChange=${() => (setValue(one), setFree(""))} /><span>${one.replace("_", " ")}</span></label>`,
      )}
      ${action.free && html`<input class="free" aria-label="Another stage" placeholder=${action.free} value=${free} onInput=${(event) => setFree(event.target.value)} />`}
    </fieldset>`}
    ${action.told && html`<p class="more">${action.told[chosen]}</p>`}
    ${previewed && html`<${Preview} told=${preview} />`}
    ${rollout && html`<${Rollout} told=${rollout} part=${action.rollout} force=${force} setForce=${setForce} />`}
    ${!action.bare && html`<label class="field">Why?
      <input ref=${field} name="reason" required maxlength="500" autocomplete="off" value=${reason}
        aria-describedby="sheet-wrong" onInput=${(event) => setReason(event.target.value)} />
    </label>`}
    ${!action.bare && action.timed !== false &&
    html`<fieldset class="choices times">
      <legend>For how long?</legend>
      ${TIMES.map(
        ([one, name]) => html`<label key=${one}><input type="radio" name="for" value=${one} checked=${one === time}
          onChange=${() => setTime(one)} /><span>${name}</span></label>`,
      )}
    </fieldset>`}
    <p id="sheet-wrong" class="trouble" role="alert">${wrong}</p>
    <footer>
      <button type="button" onClick=${close}>Cancel</button>
      <button ref=${button} type="submit" class=${action.danger ? "primary danger" : "primary"} disabled=${busy}>${busy ? "…" : action.verb}</button>
    </footer>
  </form>`;
}

function Preview({ told }) {
  if (!told) return html`<p class="preview" aria-busy="true">…</p>`;
  if (told.problem) return html`<p class="preview trouble">${told.problem}</p>`;
  const { count, rate: busy, share: part } = told.affects || {};
  return html`<div class="preview">
    <p><span class="visually-hidden">Now </span><b>${spoken(told.now)}</b> <span aria-hidden="true">→</span><span class="visually-hidden"> becomes </span> <b>${spoken(told.then)}</b></p>
    <p class="more">
      ${count != null && `${count} ${count === 1 ? "route" : "routes"}`}
      ${busy != null && `, ${rate(busy)}`}
      ${part != null && `, ${share(part)} of all`}
    </p>
  </div>`;
}

// What a rollout says of a move: what is still missing, or what legacy would have to do.
function Rollout({ told, part, force, setForce }) {
  const together = told.journey.length > 0 && html`<p class="more">With it, as one journey: ${told.journey.map((key) => html`<code>${key}</code> `)}</p>`;
  if (part === "next") {
    const unmet = told.next.conditions.filter((one) => !one.met);
    return html`<div class="preview">
      <p><b>${told.stage.effective}</b> <span aria-hidden="true">→</span> <b>${told.next.stage || "nothing further"}</b></p>
      ${together}
      ${unmet.length > 0 && html`<ul class="unmet">${unmet.map((one) => html`<li key=${one.name}>${one.name}: ${one.said}</li>`)}</ul>`}
      ${unmet.length > 0 && told.next.stage && html`<label class="check"><input type="checkbox" name="force" checked=${force} onChange=${(event) => setForce(event.target.checked)} /> Go all the same; the audit says so</label>`}
    </div>`;
  }
  const { verdict, why } = told.readiness;
  return html`<div class=${part === "back" ? "preview" : "aside-note"}>
    ${part === "back" && html`<p><b>${told.stage.effective}</b> <span aria-hidden="true">→</span> <b>${told.back.stage || "nothing further back"}</b></p>`}
    <p class=${verdict === "short" || verdict === "unwell" ? "trouble" : "more"}>Legacy: ${verdict}. ${why}.</p>
    ${together}
  </div>`;
}

// ---------------------------------------------------------------- the notice

export function Notice() {
  const [told, setTold] = useState(null);
  const { state } = useEdge();
  notify = (one) => setTold({ ...one, turn: Date.now() });
  const undoing = useRef(null);
  useEffect(() => {
    if (!told) return;
    // After the sheet has closed and given the focus back to where it came from.
    if (told.id) setTimeout(() => undoing.current?.focus({ preventScroll: true }));
    const timer = setTimeout(() => setTold(null), told.id ? 60_000 : 8000);
    return () => clearTimeout(timer);
  }, [told]);
  // A journey moves together, and comes back together.
  const moved = (state?.overrides || []).filter(
    (one) => one.id === told?.id || (told?.routes?.includes(one.subject.slice(6)) && one.kind === "stage" && Math.abs(one.created - told.since) < 1),
  );
  const undoIt = () => (moved.length ? moved : [{ id: told.id, subject: told.text, kind: "", value: "" }]).forEach(undo);
  return html`<div class="notice ${told ? "" : "none"} ${told?.bad ? "bad" : ""}" role="status" aria-live="polite">
    ${told &&
    html`<p>${told.text}</p>
      ${told.id && html`<button type="button" ref=${undoing} onClick=${undoIt}>Undo</button>`}
      <button type="button" class="quiet" onClick=${() => setTold(null)} aria-label="Close this notice">×</button>`}
  </div>`;
}
