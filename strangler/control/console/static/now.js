// SPDX-License-Identifier: Apache-2.0
// The first screen: five questions, then what one would look at next.

import { html, useEffect, useRef, useState } from "./dom.js";
import { duration, left, rate, share, spoken } from "./format.js";
import { Empty, Key, Section, Spark, Stage, Timeline, Verdict, When } from "./parts.js";
import { Do, OnlyViews, act, undo } from "./act.js";
import { may } from "./actions.js";
import { useEdge } from "./store.js";

const SHOWN_CHANGES = 6;
const PLACES = { reader: "#worst", changes: "#changes", routes: "#worst", legacy: "#upstreams", agree: "#proxies" };

export function Now() {
  const { state } = useEdge("?routes=12");
  if (!state?.answers) return html`<${Waiting} />`;
  const [reader, ...others] = state.answers;
  return html`<main class="now" id="main">
    <h1 class="visually-hidden" tabindex="-1">Now</h1>
    <${Announcer} answers=${state.answers} />
    <div class="column">
      <section class="answer first ${reader.verdict}" aria-labelledby="q-reader">
        <div class="question">
          <${Verdict} is=${reader.verdict} />
          <div>
            <h2 id="q-reader">${reader.question}</h2>
            <p class="say">${reader.say}</p>
            ${reader.more && html`<p class="more">${reader.more}</p>`}
          </div>
        </div>
        <${Timeline} series=${state.series} marks=${state.changes} label=${`Requests a second in the last half hour. ${reader.say}`} />
      </section>
      <ul class="answers">
        ${others.map(
          (one) => html`<li key=${one.id}>
            <a class="answer ${one.verdict}" href=${PLACES[one.id]}>
              <${Verdict} is=${one.verdict} />
              <span>
                <span class="asks">${one.question}</span>
                <span class="say">${one.say}</span>
                ${one.more && html`<span class="more">${one.more}</span>`}
              </span>
            </a>
          </li>`,
        )}
      </ul>
    </div>
    <div class="column">
      <${Overrides} state=${state} />
      <${Worst} state=${state} />
      <${Changes} state=${state} />
      <${Upstreams} state=${state} />
      <${Proxies} state=${state} />
    </div>
  </main>`;
}

export function Waiting() {
  const { lost } = useEdge();
  return html`<main class="waiting" id="main"><p role="status">${lost ? `No answer: ${lost}.` : "Asking the edge …"}</p></main>`;
}

// Say aloud when a verdict changes, and nothing else: numbers that move would never be silent.
function Announcer({ answers }) {
  const before = useRef({});
  const [said, setSaid] = useState("");
  useEffect(() => {
    const news = answers.filter((one) => before.current[one.id] && before.current[one.id] !== one.verdict);
    before.current = Object.fromEntries(answers.map((one) => [one.id, one.verdict]));
    if (news.length) setSaid(news.map((one) => `${one.question} ${one.say}`).join(" "));
  }, [answers]);
  return html`<p class="visually-hidden" role="status" aria-live="polite">${said}</p>`;
}

// Rows don't change places under a finger: the order is kept while somebody points at the list or
// has the focus in it.
function useCalmOrder(routes) {
  const list = useRef(null);
  const order = useRef([]);
  const busy = list.current && (list.current.matches(":hover") || list.current.contains(document.activeElement));
  const keys = routes.map((route) => route.key);
  if (!busy) order.current = keys;
  else order.current = [...order.current.filter((key) => keys.includes(key)), ...keys.filter((key) => !order.current.includes(key))];
  const found = Object.fromEntries(routes.map((route) => [route.key, route]));
  return [list, order.current.map((key) => found[key])];
}

function Worst({ state }) {
  const [list, routes] = useCalmOrder(state.routes.filter((route) => route.action === "proxy" && (route.rate || route.stage.override)));
  const bad = routes.some((route) => route.verdict !== "good");
  return html`<${Section} id="worst" title=${bad ? "Worst routes" : "Busiest routes"} aside=${html`<a href="/routes">all ${state.routes_total}</a>`}>
    ${state.me?.role === "viewer" && html`<${OnlyViews} me=${state.me} />`}
    ${routes.length === 0 && html`<${Empty}>No route is asked for.<//>`}
    <ol class="rows" ref=${list}>
      ${routes.map((route) => html`<${RouteRow} key=${route.key} route=${route} state=${state} />`)}
    </ol>
  <//>`;
}

export function RouteRow({ route, state }) {
  const mine = state.overrides.find((one) => one.kind === "stage" && one.subject === `route:${route.key}`);
  const movable = route.service && route.legacy && route.stage.effective !== "legacy" && route.stage.file !== "retired";
  return html`<li class="row route ${route.verdict}">
    <div class="what">
      <${Key} route=${route} />
      <p>
        ${route.action === "proxy" ? html`<${Stage} stage=${route.stage.effective} override=${mine} />` : html`<span class="tag">${route.action}</span> `}
        <span class="say">${route.why || (route.rate ? `${rate(route.rate)}, p95 ${duration(route.p95)}` : "no traffic")}</span>
      </p>
    </div>
    <${Spark} values=${route.series?.requests} bad=${route.series?.errors} label=${`${rate(route.rate)}, ${share(route.error_share)} fail`} />
    <div class="do">
      ${!may(state.me, route)
        ? null
        : mine
        ? html`<button type="button" onClick=${() => undo(mine)} aria-label=${`Undo: ${route.key} ${spoken(mine.value)}`}>Undo</button>`
        : movable &&
          html`<button type="button" class=${["bad", "warn"].includes(route.verdict) ? "danger" : ""} onClick=${() => act("legacy", route)} aria-label=${`Put ${route.key} back to legacy`}>
            Back to legacy
          </button>`}
    </div>
  </li>`;
}

export function Overrides({ state, route }) {
  const about = route && ["site", `route:${route.key}`, ...[route.service, route.legacy].flatMap((name) => [`upstream:${name}`, `endpoint:${name}`])];
  const shown = route ? state.overrides.filter((one) => about.includes(one.subject.startsWith("endpoint:") ? one.subject.split(" ")[0] : one.subject)) : state.overrides;
  const lasting = !route && shown.some((one) => one.kind === "stage" || one.kind === "priority");
  if (!shown.length && (route || state.store.ok)) return null;
  return html`<${Section} id="overrides" title="In force by an operator" aside=${lasting ? html`<button type="button" class="small" onClick=${() => act("file")}>Into the file …</button>` : ""}>
    ${!state.store.ok && html`<p class="trouble">Nothing new can be recorded: ${state.store.why}. What is in force stays so.</p>`}
    <ul class="rows">
      ${shown.map(
        (one) => html`<li class="row override" key=${one.id}>
          <div class="what">
            <p><code>${one.subject.replace(/^(route|upstream|endpoint):/, "")}</code> <b>${one.kind === "stage" ? spoken(one.value) : `${one.kind} ${spoken(one.value)}`}</b></p>
            <p class="more">“${one.reason}” ${one.author}, <${When} at=${one.created} now=${state.time} />, ${left(one.expires, state.time)}</p>
            ${one.conflict && html`<p class="trouble">routes.yaml has changed under it: ${spoken(one.conflict.was)} is now ${spoken(one.conflict.now)}. The override wins until it ends.</p>`}
          </div>
          ${may(state.me, one) && html`<div class="do"><button type="button" onClick=${() => undo(one)} aria-label=${`Undo: ${one.subject} ${one.kind} ${spoken(one.value)}`}>Undo</button></div>`}
        </li>`,
      )}
    </ul>
  <//>`;
}

// The newest few: after a busy night the rest would push what is below off a telephone's screen.
function Changes({ state }) {
  const [whole, setWhole] = useState(false);
  const { changes } = state;
  const hidden = whole ? 0 : changes.length - SHOWN_CHANGES;
  return html`<${Section} id="changes" title="Changed in the last 30 minutes" aside=${html`<a href="/audit">audit</a>`}>
    ${changes.length === 0 && html`<${Empty}>Nothing: neither the file nor an operator.<//>`}
    <ol class="rows">
      ${(hidden > 0 ? changes.slice(0, SHOWN_CHANGES) : changes).map(
        (one) => html`<li class="row change ${one.verdict || ""}" key=${one.id}>
          <div class="what">
            <p>${one.say}</p>
            <p class="more">${one.reason && `“${one.reason}” `}${one.who && `${one.who}, `}<${When} at=${one.time} now=${state.time} /></p>
          </div>
        </li>`,
      )}
    </ol>
    ${hidden > 0 && html`<p><button type="button" class="small" onClick=${() => setWhole(true)}>${hidden} more</button></p>`}
  <//>`;
}

function Upstreams({ state }) {
  return html`<${Section} id="upstreams" title="Upstreams">
    <ul class="rows">
      ${state.upstreams.map(
        (one) => html`<li class="row upstream" key=${one.name}>
          <${Verdict} is=${one.verdict} />
          <div class="what">
            <p><b>${one.name}</b> <span class="tag ${one.role}">${one.role}</span>${one.owner && html` <span class="more">${one.owner}</span>`}</p>
            <p class="say">${one.say}</p>
          </div>
          <div class="do pair-of">
            <${Do} name="breaker" on=${one} state=${state} look="small" label=${`Force the breaker of ${one.name}`}>Breaker …<//>
            <${Do} name="drain" on=${one} state=${state} look="small" label=${`Drain ${one.name}`}>Drain …<//>
          </div>
        </li>`,
      )}
    </ul>
  <//>`;
}

function Proxies({ state }) {
  return html`<${Section} id="proxies" title="Proxies">
    <ul class="rows">
      ${state.instances.map(
        (one) => html`<li class="row proxy" key=${one.name}>
          <${Verdict} is=${one.verdict} />
          <div class="what">
            <p><b>${one.name}</b>${one.me && html` <span class="more">this one</span>`}</p>
            <p class="say">${one.say}</p>
          </div>
        </li>`,
      )}
    </ul>
    ${state.config.rejected && html`<pre class="trouble" tabindex="0">${state.config.rejected.text.join("\n")}</pre>`}
  <//>`;
}
