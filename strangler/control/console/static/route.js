// SPDX-License-Identifier: Apache-2.0
// One route: where it is in its life, how both sides answer, what the file, an operator and the
// counters say, and the buttons.

import { html, useState } from "./dom.js";
import { bytes, clock, count, duration, left, rate, share, spoken } from "./format.js";
import { Explain } from "./explain.js";
import { Entries, useAudit } from "./audit.js";
import { Overrides, Waiting } from "./now.js";
import { Empty, Parts, Section, Stage, Timeline, Verdict } from "./parts.js";
import { Do, OnlyViews, act, undo } from "./act.js";
import { may } from "./actions.js";
import { useAnswer, useEdge } from "./store.js";

const LIFE = ["legacy", "shadow", "canary", "live", "sealed", "retired"];
const MEANS = {
  legacy: "Django answers.",
  shadow: "Django answers; some requests are copied to the service and the answers compared.",
  canary: "A share of the readers gets the service, the others Django.",
  live: "The service answers; Django is its fallback.",
  sealed: "The service answers, without Django behind it.",
  retired: "The Django code is gone.",
};

export function Route() {
  const key = new URLSearchParams(location.search).get("key") || "";
  const { state } = useEdge(`?route=${encodeURIComponent(key)}`);
  if (!state?.answers || state.for !== `?route=${encodeURIComponent(key)}`) return html`<${Waiting} />`;
  const route = state.route;
  if (!route) {
    return html`<main class="single" id="main"><h1 tabindex="-1">No such route</h1>
      <p>The file has no route <code>${key}</code>. <a href="/routes">All routes</a></p></main>`;
  }
  return html`<main class="single route-page" id="main">
    <header class="head">
      <h1 tabindex="-1"><code>${route.key}</code></h1>
      <p class="more">${route.target || route.action}${route.owner && `, ${route.owner}`}, <code>${route.place}</code>${route.until && `, until ${route.until}`}</p>
      <p class="summary"><${Verdict} is=${route.verdict} /> <span>${route.why || (route.rate ? `${rate(route.rate)}, ${share(route.error_share)} fail, p95 ${duration(route.p95)}` : "Nobody asks for it.")}</span></p>
    </header>
    ${route.action === "proxy" && html`<${Buttons} route=${route} state=${state} />`}
    <${Overrides} state=${state} route=${route} />
    ${route.action === "proxy" && html`<${Life} route=${route} state=${state} />`}
    <${Section} id="traffic" title="Last half hour"><${Timeline} series=${route.history} marks=${state.changes.filter((one) => one.route === route.key)} label=${`Requests a second to ${route.key}: now ${rate(route.rate)}, ${share(route.error_share)} fail`} /><//>
    ${route.action === "proxy" && html`<${Arms} route=${route} />`}
    <${Layers} route=${route} />
    <div class="pair">
      <${Section} id="tiers" title="Who had the answer">${route.caches ? html`<${Parts} label="Answers by tier" parts=${Object.entries(route.tiers)} />` : html`<${Empty}>Nothing of this route is kept.<//>`}<//>
      <${Section} id="fallbacks" title="Fallbacks" aside=${route.fallbacks.length ? "since the start" : ""}>
        ${route.fallbacks.length === 0 && html`<${Empty}>None.<//>`}
        <ul class="bars">
          ${route.fallbacks.map((one) => html`<li key=${one.rung + one.reason}><span>${one.rung}: ${one.reason}</span><b>${count(one.count)}</b><i style=${{ width: `${(100 * one.count) / route.fallbacks[0].count}%` }}></i></li>`)}
        </ul>
      <//>
    </div>
    ${route.service && route.legacy && html`<${Parity} route=${route} now=${state.time} />`}
    <${Failed} route=${route} me=${state.me} />
    <${Explain} route=${route} />
    <${History} route=${route} state=${state} />
  </main>`;
}

function Life({ route, state }) {
  const word = route.stage.effective.split(" ")[0];
  const at = LIFE.indexOf(word);
  const moves = route.service && route.legacy;
  const [told, problem] = useAnswer(moves ? `/-/rollout?route=${encodeURIComponent(route.key)}` : null, Math.round(state.time / 4));
  return html`<${Section} id="life" title="Its life" aside=${html`<${Stage} stage=${route.stage.effective} override=${route.stage.override} />`}>
    <ol class="life">
      ${LIFE.map((one, i) => html`<li key=${one} class=${i < at ? "past" : i === at ? "here" : ""} aria-current=${i === at ? "step" : undefined}><span>${one}</span></li>`)}
    </ol>
    <p>${MEANS[word]}</p>
    ${told && html`<${Next} told=${told} now=${state.time} />`}
    ${!moves && html`<p class="more">The file names one side only: there is nowhere to move to.</p>`}
    ${problem && problem.status !== 404 && html`<p class="more">${problem.message}</p>`}
  <//>`;
}

function Next({ told, now }) {
  const next = told.next;
  return html`<div class="next">
    <p><b>Next: ${next.stage || "nothing"}</b> <span class="more">${next.stage ? (next.by === "clock" ? "by itself, when all is met" : "by hand") : ""}${told.rest.until > now ? `; rests until ${clock(told.rest.until)} after ${told.rest.failed} failed` : ""}</span></p>
    <ul class="unmet">${next.conditions.filter((one) => !told.gates.some((gate) => one.name.endsWith(gate.name))).map((one) => html`<li key=${one.name} class=${one.met ? "met" : ""}>${one.name}: ${one.said}</li>`)}</ul>
    <p class="more">Back: ${told.back.stage ? `${told.back.stage}. Is legacy ready for it? ${told.readiness.verdict}: ${told.readiness.why}` : "it is at the beginning"}.</p>
    ${told.gates.length > 0 &&
    html`<table>
      <thead><tr><th scope="col">Gate</th><th scope="col">Limit</th><th scope="col">Seen</th><th scope="col">Says</th></tr></thead>
      <tbody>${told.gates.map((one) => html`<tr key=${one.name}><th scope="row">${one.name}</th><td>${spoken(one.limit)}</td><td>${spoken(one.seen)}</td><td class="verdict-${one.verdict}">${one.verdict}</td></tr>`)}</tbody>
    </table>`}
  </div>`;
}

function Buttons({ route, state }) {
  const own = state.overrides.filter((one) => one.subject === `route:${route.key}`);
  const mine = own.find((one) => one.kind === "stage");
  // What routes.yaml has the same word for.
  const lasting = mine || own.some((one) => one.kind === "priority");
  const upstream = state.upstreams.find((one) => one.name === (route.service || route.legacy));
  const moves = route.service && route.legacy && route.stage.file !== "retired";
  if (!may(state.me, route)) {
    return html`<${OnlyViews} me=${state.me} on=${route} />
      ${lasting && html`<div class="buttons"><button type="button" onClick=${() => act("file", route)}>See it as an edit of the file …</button></div>`}`;
  }
  return html`<div class="buttons" role="group" aria-label="What to do with this route">
    ${mine && html`<button type="button" class="primary" onClick=${() => undo(mine)}>Undo: ${spoken(mine.value)}<small>${left(mine.expires, state.time)}</small></button>`}
    ${lasting && html`<button type="button" onClick=${() => act("file", route)}>Write into the file …</button>`}
    ${moves && route.stage.effective !== "legacy" && html`<button type="button" class="danger" onClick=${() => act("legacy", route)}>Back to legacy</button>`}
    ${moves && html`<button type="button" onClick=${() => act("promote", route)}>Promote …</button>
      <${Do} name="hold" on=${route} state=${state}>Hold …<//>
      ${route.stage.effective !== "legacy" && html`<button type="button" onClick=${() => act("back", route)}>Step back …</button>`}
      <button type="button" onClick=${() => act("stage", route)}>Set stage …</button>`}
    ${route.caches && html`<${Do} name="cache" on=${route} state=${state}>Cache mode …<//>
      <button type="button" onClick=${() => act("purge", route)}>Purge …</button>`}
    <${Do} name="priority" on=${route} state=${state}>Priority …<//>
    <${Do} name="maintenance" on=${route} state=${state}>Maintenance …<//>
    <${Do} name="breaker" on=${route} state=${state}>Breaker …<//>
    ${upstream && html`<${Do} name="drain" on=${upstream} state=${state}>Drain ${upstream.name} …<//>`}
    <${Do} name="fault" on=${route} state=${state}>Fault …<//>
  </div>`;
}

function Arms({ route }) {
  const { legacy, service } = route.arms;
  const rows = [
    ["requests", (arm) => rate(arm.rate)],
    ["failed", (arm) => share(arm.error_share), (arm) => arm.error_share],
    ["p50", (arm) => duration(arm.p50), (arm) => arm.p50],
    ["p95", (arm) => duration(arm.p95), (arm) => arm.p95],
    ["fallbacks", (arm) => rate(arm.fallback_rate), (arm) => arm.fallback_rate],
    ["bytes", (arm) => `${bytes(arm.byte_rate)}/s`],
  ];
  // Worse by more than a tenth, and by more than noise.
  const worse = (one, other, floor) => one != null && other != null && one > other * 1.1 + floor;
  return html`<${Section} id="arms" title="Both arms, last 5 minutes">
    <table class="arms">
      <thead><tr><td></td><th scope="col" class="legacy">legacy</th><th scope="col" class="service">${route.service || "service"}</th></tr></thead>
      <tbody>
        ${rows.map(([name, say, value]) => {
          const pair = value && legacy?.rate && service?.rate ? [value(legacy), value(service)] : [];
          const floor = name === "failed" ? 0.002 : 0.005;
          return html`<tr key=${name}>
            <th scope="row">${name}</th>
            <td>${legacy ? say(legacy) : "–"}</td>
            <td class=${worse(pair[1], pair[0], floor) ? "worse" : ""}>${service ? say(service) : "–"}</td>
          </tr>`;
        })}
      </tbody>
    </table>
    ${[["legacy", legacy], [route.service || "service", service]].map(([name, arm]) =>
      arm?.failures?.length > 0 && html`<p class="more" key=${name}>${name}: ${arm.failures.map((one) => `${one.error} ${count(one.count)}`).join(", ")}</p>`)}
  <//>`;
}

function Layers({ route }) {
  return html`<${Section} id="layers" title="File, override, observed">
    <div class="scroll" tabindex="0" role="region" aria-labelledby="layers-title">
      <table class="layers">
        <thead><tr><td></td><th scope="col">File</th><th scope="col">Override</th><th scope="col">Observed</th></tr></thead>
        <tbody>
          ${route.layers.map(
            (row) => html`<tr key=${row.name} class=${row.drift ? "drift" : ""}>
              <th scope="row">${row.name}</th>
              <td>${row.file ?? "–"}</td>
              <td>${row.override ?? "–"}</td>
              <td>${row.observed ?? "–"}${row.drift && html`<span class="why">${row.drift}</span>`}</td>
            </tr>`,
          )}
        </tbody>
      </table>
    </div>
  <//>`;
}

// What became of the copies to the other side; nothing where none was ever made.
function Parity({ route, now }) {
  const [told] = useAnswer(`/-/parity?route=${encodeURIComponent(route.key)}`, Math.round(now / 6));
  if (!told?.shadowed) return null;
  const found = Object.entries(told.mismatches);
  return html`<${Section} id="parity" title="Copies compared" aside=${`since ${clock(told.since)}`}>
    <p><b>${share(told.parity)}</b> of ${count(told.compared)} pairs are equal. <span class="more">${count(told.shadowed)} copied: ${count(told.equal)} equal, ${count(told.mismatched)} differ, ${count(told.failed)} failed, ${count(told.dropped)} dropped.</span></p>
    ${found.length > 0 && html`<ul class="bars">${found.map(([word, number]) => html`<li key=${word}><span>${word}</span><b>${count(number)}</b><i style=${{ width: `${(100 * number) / found[0][1]}%` }}></i></li>`)}</ul>`}
    ${told.samples.slice(0, 5).map(
      (one) => html`<details key=${one.id}>
        <summary>${one.word} <span class="more">${one.method} ${one.target}, ${clock(one.at)}</span></summary>
        <pre tabindex="0" aria-label="What the reader got, and the copy">${one.answered}: ${one.expected}\n${one.copied}: ${one.got}</pre>
      </details>`,
    )}
  <//>`;
}

function Failed({ route, me }) {
  const [shown, setShown] = useState(false);
  const [told, problem] = useAnswer(shown && me ? `/-/errors?route=${encodeURIComponent(route.key)}` : null);
  return html`<${Section} id="failed" title="Last failed requests">
    ${!shown && html`<p><button type="button" onClick=${() => (me ? setShown(true) : act("signin"))}>${me ? "Show" : "Sign in to see them"}</button> <span class="more">byte for byte, secrets masked</span></p>`}
    ${shown && problem && html`<p class="trouble" role="alert">${problem.message}</p>`}
    ${shown && told && !told.errors?.length && html`<${Empty}>None since the workers started.<//>`}
    ${(told?.errors || []).map(
      (one, i) => html`<details key=${one.id} open=${i === 0}>
        <summary><b>${one.status || "---"}</b> ${one.error.startsWith("status ") ? "" : one.error} <span class="more">${clock(one.time)}, ${one.target}${one.endpoint && ` at ${one.endpoint}`}</span></summary>
        <pre tabindex="0" aria-label="The request">${`${one.request}${one.body}`.trimEnd()}</pre>
        ${one.response && html`<pre tabindex="0" aria-label="The answer">${one.response.trimEnd()}</pre>`}
        <p class="more">id ${one.id}, from ${one.client}, ${bytes(one.received)} received</p>
      </details>`,
    )}
    ${told?.silent?.length > 0 && html`<p class="trouble">Not heard: ${told.silent.join(", ")}</p>`}
  <//>`;
}

function History({ route, state }) {
  const [entries, problem, older] = useAudit(route.key, `${state.me?.who}${state.overrides_version}`, state.me);
  return html`<${Section} id="history" title="Its history">
    ${!state.me
      ? html`<p><button type="button" onClick=${() => act("signin")}>Sign in to see it</button></p>`
      : problem
        ? html`<p class="trouble">${problem.message}</p>`
        : html`<${Entries} entries=${entries || []} loading=${!entries} now=${state.time} />`}
    ${state.me && older && html`<p><button type="button" onClick=${older}>Older</button></p>`}
  <//>`;
}
