// SPDX-License-Identifier: Apache-2.0
// What the edge says, asked for every two seconds while somebody looks (a hidden tab asks nothing),
// and the way to ask it for something. One document (GET /-/state) holds all that the pages show.

import { useEffect, useState } from "./dom.js";

const EVERY = 2000;
const SLOWEST = 10_000;
// A network that is gone says nothing for minutes: who has waited so long is told.
const PATIENCE = 8000;
const SILENT = "the edge's admin listener is silent";

export class Refused extends Error {
  constructor(document, status) {
    super(document.error || `the edge answered ${status}`);
    this.status = status;
    this.document = document;
  }
}

// Ask the admin API. Raises Refused for its own errors, TypeError where nobody answers.
export async function ask(path, body) {
  const options = { headers: { Accept: "application/json" }, credentials: "same-origin" };
  if (body !== undefined) {
    options.method = "POST";
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const response = await fetch(path, options);
  let document = {};
  try {
    document = await response.json();
  } catch {
    document = { ok: false, error: `the answer of ${path} is not JSON` };
  }
  if (!response.ok) throw new Refused(document, response.status);
  return document;
}

// ---------------------------------------------------------------- the document

const first = document.getElementById("state")?.textContent;
const store = {
  state: first ? JSON.parse(first) : null,
  asked: "",
  lost: null, // why the last question went unanswered, or null
  heard: performance.now(),
  watchers: new Set(),
};
// Seconds after which the numbers are no longer called live, also while a question is under way.
const OLD = (2.5 * EVERY) / 1000;
let timer = 0;
let pause = EVERY;
let running = null;

// Seconds since the edge was last heard.
function age() {
  return (performance.now() - store.heard) / 1000;
}

function tell() {
  for (const watcher of store.watchers) watcher({});
}

async function poll() {
  clearTimeout(timer);
  const asked = store.asked;
  running?.abort();
  const mine = (running = new AbortController());
  const patience = AbortSignal.timeout(PATIENCE);
  try {
    const response = await fetch(`/-/state${asked}`, {
      headers: { Accept: "application/json" },
      credentials: "same-origin",
      signal: AbortSignal.any([mine.signal, patience]),
    });
    const told = await response.json();
    if (mine.signal.aborted) return;
    if (response.status === 401) store.state = { signedOut: true, time: Date.now() / 1000 };
    else if (!response.ok) throw new Refused(told, response.status);
    else store.state = { ...told, for: asked };
    store.lost = null;
    store.heard = performance.now();
    pause = EVERY;
  } catch (problem) {
    if (mine.signal.aborted) return;
    store.lost = problem instanceof Refused ? problem.message : SILENT;
    pause = Math.min(pause * 1.5, SLOWEST);
  }
  tell();
  if (!document.hidden) timer = setTimeout(poll, pause);
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) poll();
  else clearTimeout(timer);
});
// Ages grow even when nobody answers.
setInterval(() => !document.hidden && (store.lost || age() > OLD) && tell(), 1000);

// Ask at once: something has just been changed.
export function refresh() {
  pause = EVERY;
  return poll();
}

// Return {state, lost, age, old}: the newest document, refreshed with the query *query* as long as the
// component lives; with *query* undefined, whatever others ask for. lost: why nobody answers, or
// null; age: seconds since somebody did; old: too long ago to be called live.
export function useEdge(query) {
  const [, redraw] = useState({});
  useEffect(() => {
    store.watchers.add(redraw);
    return () => store.watchers.delete(redraw);
  }, []);
  useEffect(() => {
    if (query === undefined) return;
    store.asked = query;
    poll();
  }, [query]);
  const { state, lost } = store;
  return { state, lost, age: age(), old: age() > OLD };
}

// ---------------------------------------------------------------- pages that ask once

// Return [answer, problem] of a question that is asked anew whenever *path* or *turn* changes; the
// old answer stays until the new one is there.
export function useAnswer(path, turn) {
  const [told, setTold] = useState([null, null]);
  useEffect(() => {
    if (!path) return setTold([null, null]);
    let wanted = true;
    ask(path).then(
      (document) => wanted && setTold([document, null]),
      (problem) => wanted && setTold([null, problem]),
    );
    return () => {
      wanted = false;
    };
  }, [path, turn]);
  return told;
}
