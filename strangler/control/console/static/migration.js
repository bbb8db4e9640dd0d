// SPDX-License-Identifier: Apache-2.0
// How far the migration is: what Django still answers, by stage and by owner, and since when.

import { html } from "./dom.js";
import { clock, count, rate, share } from "./format.js";
import { Waiting } from "./now.js";
import { Empty, Key, Parts, Section, Stage } from "./parts.js";
import { useEdge } from "./store.js";

const LIFE = ["legacy", "shadow", "canary", "live", "sealed", "retired"];

export function Migration() {
  const { state } = useEdge("?routes=0&migration=1");
  const told = state?.migration;
  if (!told) return html`<${Waiting} />`;
  const left = LIFE.slice(0, 4).reduce((sum, word) => sum + (told.stages[word]?.routes || 0), 0);
  return html`<main class="single" id="main">
    <h1 tabindex="-1">Migration</h1>
    <div class="figures">
      <p><b>${share(told.legacy_share)}</b> of the traffic is still answered by Django</p>
      <p><b>${left}</b> of ${told.routes} routes still need it</p>
    </div>
    <${Section} id="burndown" title="Burn-down"><${Burndown} points=${told.points} now=${state.time} /><//>
    <${Section} id="stages" title="By stage">
      <${Parts} label="Routes by stage" parts=${LIFE.map((word) => [word, told.stages[word]?.routes || 0])} />
      <table>
        <thead><tr><th scope="col">Stage</th><th scope="col">Routes</th><th scope="col">Requests</th><th scope="col">Legacy</th></tr></thead>
        <tbody>
          ${LIFE.filter((word) => told.stages[word]).map(
            (word) => html`<tr key=${word}><th scope="row">${word}</th><td>${told.stages[word].routes}</td><td>${rate(told.stages[word].rate)}</td><td>${share(told.stages[word].legacy_share)}</td></tr>`,
          )}
        </tbody>
      </table>
    <//>
    <${Section} id="owners" title="By owner">
      <table>
        <thead><tr><th scope="col">Owner</th><th scope="col">Routes left</th><th scope="col">Requests</th><th scope="col">Legacy</th></tr></thead>
        <tbody>
          ${told.owners.map(
            (one) => html`<tr key=${one.owner}><th scope="row"><a href=${`/routes?q=${encodeURIComponent(one.owner)}`}>${one.owner || "nobody"}</a></th><td>${one.left} of ${one.routes}</td><td>${rate(one.rate)}</td><td>${share(one.legacy_share)}</td></tr>`,
          )}
        </tbody>
      </table>
    <//>
    <${Section} id="busiest" title="What Django answers most">
      ${told.busiest.length === 0 && html`<${Empty}>Nothing in the last minutes.<//>`}
      <ol class="rows">
        ${told.busiest.map((one) => html`<li class="row" key=${one.key}><div class="what"><${Key} route=${one} /><p><${Stage} stage=${one.stage} /> <span class="say">${rate(one.legacy_rate)}, ${share(one.share)} of all that is left</span></p></div></li>`)}
      </ol>
    <//>
    ${told.until.length > 0 &&
    html`<${Section} id="until" title="Rules with an end">
      <ul class="rows">${told.until.map((one) => html`<li class="row" key=${one.key}><div class="what"><${Key} route=${one} /><p class=${one.past ? "trouble" : "more"}>${one.past ? "past since" : "until"} ${one.until}</p></div></li>`)}</ul>
    <//>`}
  </main>`;
}

// Routes by stage over the days, and the share of traffic that legacy answered.
function Burndown({ points, now }) {
  if (points.length < 2) {
    return html`<${Empty}>It is noted once an hour and at each change of the file; the first point comes soon.<//>`;
  }
  const [width, height] = [600, 160];
  const [from, to] = [points[0].time, Math.max(now, points.at(-1).time)];
  const x = (instant) => ((instant - from) / Math.max(1, to - from)) * width;
  const most = Math.max(...points.map((one) => LIFE.reduce((sum, word) => sum + (one.stages[word] || 0), 0)), 1);
  const layer = (upTo) => {
    const sums = points.map((one) => LIFE.slice(0, upTo).reduce((sum, word) => sum + (one.stages[word] || 0), 0));
    const line = points.map((one, i) => `${i ? `H${x(one.time).toFixed(1)}V` : "M0 "}${(height - (sums[i] / most) * height).toFixed(1)}`).join("");
    return `${line}H${width}V${height}H0Z`;
  };
  const traffic = points.filter((one) => one.legacy_share != null);
  const line = traffic.map((one, i) => `${i ? "L" : "M"}${x(one.time).toFixed(1)} ${(height - one.legacy_share * height).toFixed(1)}`).join("");
  const [then, last] = [points[0], points.at(-1)];
  const left = (one) => LIFE.slice(0, 4).reduce((sum, word) => sum + (one.stages[word] || 0), 0);
  return html`<figure class="timeline burndown">
    <svg viewBox="0 0 ${width} ${height}" preserveAspectRatio="none" role="img"
      aria-label=${`Routes that need Django: ${left(then)} on ${clock(then.time)}, ${left(last)} now. Traffic that it answers: ${share(then.legacy_share)} then, ${share(last.legacy_share)} now.`}>
      ${[6, 5, 4, 3, 2, 1].map((upTo) => html`<path key=${upTo} class=${LIFE[upTo - 1]} d=${layer(upTo)} />`)}
      ${traffic.length > 1 && html`<path class="traffic" d=${line} />`}
    </svg>
    <figcaption>
      <span>${clock(from)}</span>
      <span class="legend">${LIFE.map((word) => html`<span key=${word}><i class=${word}></i>${word}</span> `)} <span><i class="traffic"></i>traffic to legacy</span></span>
      <span>${count(most)} routes</span>
    </figcaption>
  </figure>`;
}
