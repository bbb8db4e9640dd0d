// SPDX-License-Identifier: Apache-2.0
// The frame around the pages: where one is, how fresh the numbers are, who is signed in, keys.

import { html, render, useEffect, useLayoutEffect, useRef, useState } from "./dom.js";
import { duration } from "./format.js";
import { Do, Notice, OnlyViews, Sheet, act } from "./act.js";
import { may } from "./actions.js";
import { Audit } from "./audit.js";
import { Migration } from "./migration.js";
import { Now } from "./now.js";
import { Route } from "./route.js";
import { Routes } from "./routes.js";
import { ask, refresh, useEdge } from "./store.js";

const PAGES = { "/": ["Now", Now], "/routes": ["Routes", Routes], "/route": ["Route", Route], "/migration": ["Migration", Migration], "/audit": ["Audit", Audit] };
const TABS = [
  ["/", "Now", "M3 12h4l3 8 4-16 3 8h4"],
  ["/routes", "Routes", "M5 4v6a4 4 0 0 0 4 4h10M15 10l4 4-4 4"],
  ["/migration", "Migration", "M3 5v14h18M6 9l5 5 3-3 6 6"],
  ["/audit", "Audit", "M6 3h9l4 4v14H6zM9 11h7M9 15h7"],
];

// ---------------------------------------------------------------- going somewhere

let moved = () => {};

function go(target) {
  if (target !== location.pathname + location.search) history.pushState(null, "", target);
  moved({ focus: true });
}

addEventListener("popstate", () => moved({ focus: false }));
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href^='/']");
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  if (!(link.pathname in PAGES)) return;
  event.preventDefault();
  go(link.pathname + link.search);
});
// Keys of one letter, outside of fields: none is needed, each saves a way.
document.addEventListener("keydown", (event) => {
  if (event.metaKey || event.ctrlKey || event.altKey || event.target.matches?.("input, select, textarea")) return;
  if (event.key !== "/" || document.querySelector("dialog[open]")) return;
  event.preventDefault();
  if (!document.getElementById("find")) go("/routes");
  requestAnimationFrame(() => requestAnimationFrame(() => document.getElementById("find")?.focus()));
});

// ---------------------------------------------------------------- the frame

function App() {
  const [move, setMove] = useState({});
  moved = setMove;
  const [name, Page] = PAGES[location.pathname] || PAGES["/"];
  const { state } = useEdge();
  const site = state?.site?.title;
  useEffect(() => {
    const what = location.pathname === "/route" ? new URLSearchParams(location.search).get("key") : name;
    const bad = state?.answers?.[0]?.verdict === "bad" ? "● " : "";
    document.title = `${bad}${what}${site ? `, ${site}` : ""} (Strangler)`;
  });
  useLayoutEffect(() => {
    if (!move.focus) return;
    scrollTo(0, 0);
    document.querySelector("main h1")?.focus({ preventScroll: true });
  }, [move]);
  return html`
    <a class="skip" href="#main">Skip to the content</a>
    <${Bar} site=${site} path=${location.pathname} />
    <${Lost} />
    ${state?.signedOut ? html`<main class="single" id="main"><h1 tabindex="-1">Sign in</h1><p>This listener shows nothing without a token.</p><p><button type="button" class="primary" onClick=${() => act("signin")}>Sign in</button></p></main>` : html`<${Page} key=${location.pathname + location.search} />`}
    <${Notice} />
    <${Sheet} />`;
}

function Bar({ site, path }) {
  const at = path === "/route" ? "/routes" : path;
  return html`<header class="bar">
    <a class="brand" href="/" aria-label="Strangler: now">
      <svg viewBox="0 0 24 24" aria-hidden="true"><path d="M12 22V9M12 13c-4 0-7-2-8-6 4-1 7 1 8 6zM12 10c0-4 2-7 7-8 1 5-2 8-7 8z" /></svg>
      <b>${site || "Strangler"}</b>
    </a>
    <nav aria-label="Pages">
      ${TABS.map(
        ([target, name, drawn]) => html`<a key=${target} href=${target} aria-current=${at === target ? "page" : undefined}>
          <svg viewBox="0 0 24 24" aria-hidden="true"><path d=${drawn} /></svg><span>${name}</span>
        </a>`,
      )}
    </nav>
    <${Fresh} />
    <${Me} />
  </header>`;
}

function Fresh() {
  const { state, old, age } = useEdge();
  return html`<p class="fresh ${old ? "old" : ""}">
    <i></i><span>${old ? `${duration(age)} old` : html`<span class="visually-hidden">The numbers are live</span><span class="word" aria-hidden="true">live</span>`}</span>
    ${!old && state?.generation && html`<span class="more generation">generation ${state.generation}</span>`}
  </p>`;
}

// Across the page where nobody answers. Said aloud once: the age, which moves, stands apart.
function Lost() {
  const { state, lost, age, old } = useEdge();
  if (!old || !state) return html`<div role="alert"></div>`;
  return html`<div class="lost">
    <b role="alert">Not live: ${lost || "the edge is slow to answer"}.</b> <span>What you see is ${duration(age)} old; readers are served all the same.</span>
  </div>`;
}

function Me() {
  const { state } = useEdge();
  const menu = useRef(null);
  useEffect(() => {
    // A tap beside the menu shuts it; one into a sheet that it has opened doesn't.
    const beside = ({ target }) => menu.current && !menu.current.contains(target) && !target.closest("dialog") && (menu.current.open = false);
    document.addEventListener("click", beside);
    return () => document.removeEventListener("click", beside);
  }, []);
  if (!state) return null;
  if (!state.me) return html`<button type="button" class="quiet me" onClick=${() => act("signin")}>Sign in</button>`;
  const shut = (event) => {
    if (event.key !== "Escape") return;
    menu.current.open = false;
    menu.current.querySelector("summary").focus();
  };
  const leave = async () => {
    menu.current.open = false;
    await ask("/-/logout", {});
    refresh();
  };
  return html`<details class="me" ref=${menu} onKeyDown=${shut}>
    <summary>${state.me.who}</summary>
    <div class="menu">
      <p class="more">${state.me.role}</p>
      <${OnlyViews} me=${state.me} />
      ${may(state.me) && html`<p class="more">For the whole site</p>`}
      <${Do} name="freeze" state=${state}>Freeze all moves …<//>
      <${Do} name="shadows" state=${state}>Stop all shadows …<//>
      <${Do} name="cache" state=${state}>Cache mode …<//>
      <${Do} name="maintenance" state=${state}>Maintenance …<//>
      <hr />
      <button type="button" onClick=${leave}>Sign out</button>
    </div>
  </details>`;
}

render(html`<${App} />`, document.getElementById("app"));
