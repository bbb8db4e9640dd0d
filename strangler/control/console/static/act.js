// SPDX-License-Identifier: Apache-2.0
// The buttons: each opens the sheet that shows what it would change and asks for a reason and a
// time, and a notice afterwards offers to undo it.

import { html, useEffect, useLayoutEffect, useRef, useState } from "./dom.js";
import { left, rate, share, spoken } from "./format.js";
import { ACTIONS, TIMES, chosen, comesTo, inForce, may } from "./actions.js";
import { SignIn } from "./signin.js";
import { ToFile } from "./tofile.js";
import { Refused, ask, refresh, useAnswer, useEdge } from "./store.js";

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

// The button of an action, which says what is in force of it; none for who may not press it.
export function Do({ name, on = {}, state, children, look = "", label }) {
  if (!may(state.me, on)) return null;
  const [one, ...more] = inForce(state.overrides, name, on);
  return html`<button type="button" class=${one ? `in-force ${look}` : look} aria-label=${label} onClick=${() => act(name, on)}>
    ${children}${one && html`<small>${more.length ? `${more.length + 1} in force` : `${spoken(one.value)}, ${left(one.expires, state.time)}`}</small>`}
  </button>`;
}

// Why somebody sees no buttons, and how to come by some.
export function OnlyViews({ me, on = {} }) {
  if (may(me, on)) return null;
  const why = me.role === "viewer" ? "only views" : `is for what belongs to ${me.owners.join(" and ")}`;
  return html`<div class="only-views">
    <p class="more">${me.who}'s token ${why}. One that may do more is made on the edge's machine: <code>strangler token add NAME operator</code></p>
    <button type="button" class="small" onClick=${() => act("signin")}>Sign in with another</button>
  </div>`;
}

// ---------------------------------------------------------------- the sheet

export function Sheet() {
  const [asked, setAsked] = useState(null);
  const { state } = useEdge();
  const dialog = useRef(null);
  // Open before the form is made: what opens a dialog gives the focus to the first field of it, and
  // the form says itself where the focus belongs.
  open = (one) => {
    if (!dialog.current.open) dialog.current.showModal();
    setAsked(one);
  };
  useLayoutEffect(() => {
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
  if (asked.name === "file") return html`<${ToFile} route=${asked.on} close=${close} />`;
  return html`<${Form} name=${asked.name} on=${asked.on} state=${state} close=${close} />`;
}

function Form({ name, on, state, close }) {
  const action = ACTIONS[name];
  const times = action.times || TIMES;
  const [picked, setPicked] = useState({});
  const [typed, setTyped] = useState({});
  const [time, setTime] = useState(times[1][0]);
  const [reason, setReason] = useState(action.reason?.(on) || "");
  const [preview, setPreview] = useState(null);
  const [busy, setBusy] = useState(false);
  const [wrong, setWrong] = useState("");
  const form = useRef(null);
  const field = useRef(null);
  const button = useRef(null);
  const [title, named] = action.title(on);
  const asks = action.asks?.(on, picked) || [];
  const given = chosen(asks, picked, typed);
  const [rollout] = useAnswer(action.rollout ? `/-/rollout?route=${encodeURIComponent(on.key)}` : null);
  const [force, setForce] = useState(false);
  const [version, setVersion] = useState(state.overrides_version);
  const previewed = comesTo(action, on, given);
  // What was typed for another choice means nothing for this one.
  const pick = (ask, word) => {
    setPicked({ ...picked, [ask]: word });
    setTyped({});
  };

  // With the form itself, not after the next paint: that would take the focus from a hand that is quick.
  useLayoutEffect(() => {
    // A finger that has just tapped wants no keyboard over the sheet.
    const first = form.current.querySelector("input[type=radio]:not([name=for])");
    if (first) return first.focus();
    if (action.bare) return button.current.focus();
    if (reason && !matchMedia("(pointer: fine)").matches) return button.current.focus();
    field.current.focus();
    field.current.select();
  }, []);

  useEffect(() => {
    if (!previewed) return;
    let wanted = true;
    const body = { ...previewed, for: time, reason: reason.trim() || "preview" };
    const later = setTimeout(
      () =>
        ask("/-/overrides/preview", body).then(
          (told) => wanted && setPreview(told),
          (problem) => wanted && setPreview({ problem: problem.message }),
        ),
      Object.keys(typed).length ? 250 : 0,
    );
    return () => {
      wanted = false;
      clearTimeout(later);
    };
  }, [JSON.stringify(previewed), time]);

  async function submit(event) {
    event.preventDefault();
    if (busy) return;
    if (!action.bare && !reason.trim()) {
      setWrong("Say why: whoever reads the audit tomorrow will ask.");
      return field.current.focus();
    }
    setBusy(true);
    setWrong("");
    const body = action.body(on, given);
    if (!action.bare) body.reason = reason.trim();
    if (!action.bare && action.timed !== false) body.for = time;
    if (force) body.force = true;
    // Who else has changed something since the sheet was opened is told first.
    if (!action.path) body.if_version = version;
    try {
      const told = await ask(action.path || "/-/overrides", body);
      const workers = told.workers ? ` ${told.workers} workers` : "";
      const took = told.took_ms == null ? "" : `, ${Math.round(told.took_ms)} ms`;
      notify({ text: `${action.done(on, given)}.${workers}${took}`, id: told.override?.id, routes: told.routes, since: told.override?.created });
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
    ${inForce(state.overrides, name, on).map((one) => html`<${Already} key=${one.id} override=${one} now=${state.time} close=${close} />`)}
    ${asks.map((one) => html`<${Choice} key=${one.name} ask=${one} given=${given[one.name]} typed=${typed[one.name] || ""} pick=${pick} type=${(text) => setTyped({ ...typed, [one.name]: text })} />`)}
    ${previewed && html`<${Preview} told=${preview} />`}
    ${rollout && html`<${Rollout} told=${rollout} part=${action.rollout} force=${force} setForce=${setForce} />`}
    ${!action.bare && html`<label class="field">Why?
      <input ref=${field} name="reason" required maxlength="500" autocomplete="off" value=${reason}
        aria-describedby="sheet-wrong" onInput=${(event) => setReason(event.target.value)} />
    </label>`}
    ${!action.bare && action.timed !== false &&
    html`<fieldset class="choices times">
      <legend>For how long?</legend>
      ${times.map(
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

// What is in force already, and the way to take it back.
function Already({ override, now, close }) {
  return html`<p class="aside-note already">
    <span>In force: <b>${spoken(override.value)}</b>${override.subject.startsWith("endpoint:") && html` <code>${override.subject.split(" ")[1]}</code>`}, ${left(override.expires, now)}. <span class="more">“${override.reason}” ${override.author}</span></span>
    <button type="button" class="small" onClick=${() => close() || undo(override)} aria-label=${`Undo: ${override.subject} ${override.kind} ${spoken(override.value)}`}>Undo</button>
  </p>`;
}

// One thing to choose: words as buttons where there are several, a field for another word.
function Choice({ ask, given, typed, pick, type }) {
  const { name, legend, choices = [], told, free, label } = ask;
  const field = free && html`<input class="free" name=${name} aria-label=${label || `${legend} Another`} placeholder=${free} autocomplete="off" spellcheck=${false} value=${typed} onInput=${(event) => type(event.target.value)} />`;
  if (!choices.length) return html`<label class="field">${label}${field}</label>`;
  if (choices.length === 1 && !free) return told && html`<p class="more">${told[given]}</p>`;
  return html`<fieldset class="choices">
    <legend>${legend}</legend>
    ${choices.map((one) => {
      const [word, called = word.replace("_", " ")] = [one].flat();
      return html`<label key=${word}><input type="radio" name=${name} value=${word} checked=${!typed && word === given} onChange=${() => pick(name, word)} /><span>${called}</span></label>`;
    })}
    ${field}
    ${told && html`<p class="more">${told[given]}</p>`}
  </fieldset>`;
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
    ${(told.affects?.instead || []).map(
      ({ rungs, count: some, routes }) =>
        html`<p class=${rungs.length ? "more" : "trouble"}>${rungs.join(", then ") || "Nobody (503)"} instead: ${named(some, routes)}</p>`,
    )}
    ${told.affects?.rung_lost?.count > 0 && html`<p class="more">Left without it as a fallback: ${named(told.affects.rung_lost.count, told.affects.rung_lost.routes)}</p>`}
  </div>`;
}

// A few of many routes.
function named(count, routes) {
  const few = routes.slice(0, 3);
  return `${few.join(", ")}${count > few.length ? ` and ${count - few.length} more` : ""}`;
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
