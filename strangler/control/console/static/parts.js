// SPDX-License-Identifier: Apache-2.0
// The small things that several pages show.

import { html } from "./dom.js";
import { ago, clock, iso, rate, routePage, share } from "./format.js";

const GLYPHS = {
  good: "M5 12.5l4.5 4.5L19 7.5",
  warn: "M12 6v8M12 17.5v.5",
  bad: "M7 7l10 10M17 7L7 17",
  unknown: "M7 12h10",
  info: "M12 6.5v.5M12 11v6.5",
};
const SAID = { good: "good", warn: "look", bad: "bad", unknown: "not known", info: "for information" };

// A verdict: a colour, a shape and a word, so that none of them has to be enough.
export function Verdict({ is }) {
  return html`<svg class="verdict ${is}" viewBox="0 0 24 24" role="img" aria-label=${SAID[is]}>
    <circle cx="12" cy="12" r="11" />
    <path d=${GLYPHS[is] || GLYPHS.unknown} />
  </svg>`;
}

export function Stage({ stage, override }) {
  const [word, percent] = String(stage).split(" ");
  const part = word === "canary" ? parseFloat(percent) : ["live", "sealed", "retired"].includes(word) ? 100 : 0;
  return html`<span class="stage ${word} ${override ? "overridden" : ""}">
    <i class="fill" style=${{ width: `${part}%` }}></i><b>${stage}</b>
    ${override && html`<span class="visually-hidden">, by an override</span>`}
  </span>`;
}

export function Key({ route, children }) {
  return html`<a class="key" href=${routePage(route.key)}><code>${route.key}</code>${children}</a>`;
}

export function When({ at, now }) {
  return html`<time datetime=${iso(at)} title=${new Date(at * 1000).toLocaleString()}>${ago(at, now)}</time>`;
}

export function Empty({ children }) {
  return html`<p class="empty">${children}</p>`;
}

export function Section({ id, title, aside, children, label }) {
  return html`<section class="card" id=${id} aria-labelledby=${`${id}-title`}>
    <header>
      <h2 id=${`${id}-title`}>${title}</h2>
      ${aside && html`<span class="aside">${aside}</span>`}
    </header>
    ${children}
  </section>`;
}

// ---------------------------------------------------------------- drawings

function path(values, top, width, height) {
  const step = width / Math.max(1, values.length - 1);
  return values.map((value, i) => `${i ? "L" : "M"}${(i * step).toFixed(1)} ${(height - (Math.min(value, top) / top) * height).toFixed(1)}`).join("");
}

function area(values, top, width, height) {
  return `${path(values, top, width, height)}L${width} ${height}L0 ${height}Z`;
}

// A few minutes of one number, as small as a word; *bad* is drawn over it, on the same scale.
export function Spark({ values, bad, label }) {
  if (!values || values.length < 2) return html`<span class="spark"></span>`;
  const top = Math.max(...values, 1e-9);
  return html`<svg class="spark" viewBox="0 0 100 26" preserveAspectRatio="none" role="img" aria-label=${label}>
    <path class="all" d=${area(values, top, 100, 26)} />
    ${bad && bad.some(Boolean) && html`<path class="errors" d=${area(bad, top, 100, 26)} />`}
  </svg>`;
}

// The last half hour: all requests, those that legacy answered, those that failed, and what
// operators did meanwhile.
export function Timeline({ series, marks = [], label }) {
  const { every, until, requests, legacy, errors } = series;
  if (!requests || requests.length < 2) {
    return html`<${Empty}>The chart begins with the first half minute of traffic.<//>`;
  }
  const [width, height] = [600, 110];
  const top = Math.max(...requests, 0.1) * 1.08;
  const failing = Math.max(...errors);
  const span = (requests.length - 1) * every;
  const at = (instant) => Math.min(width, width - ((until - instant) / span) * width);
  const shown = marks.filter((mark) => mark.time > until - span && mark.time <= until + every);
  return html`<figure class="timeline">
    <svg viewBox="0 0 ${width} ${height}" preserveAspectRatio="none" role="img" aria-label=${label}>
      <path class="service" d=${area(requests, top, width, height)} />
      <path class="legacy" d=${area(legacy, top, width, height)} />
      <path class="line" d=${path(requests, top, width, height)} />
      ${failing > 0 && html`<path class="errors" d=${area(errors, top, width, height)} />
        <path class="errors-line" d=${path(errors, top, width, height)} />`}
      ${shown.map((mark) => html`<path class="mark" key=${mark.id} d=${`M${at(mark.time).toFixed(1)} 0V${height}`} />`)}
    </svg>
    <figcaption>
      <span>${clock(until - span)}</span>
      <span class="legend"><i class="service"></i>service <i class="legacy"></i>legacy <i class="errors"></i>failed${shown.length ? html` <i class="mark"></i>change` : ""}</span>
      <span>peak ${rate(Math.max(...requests))}</span>
    </figcaption>
  </figure>`;
}

// Parts of a whole, as one bar with its legend; parts: [name, number, class].
export function Parts({ parts, label }) {
  const whole = parts.reduce((sum, [, number]) => sum + number, 0);
  if (!whole) return html`<${Empty}>Nothing yet.<//>`;
  const shown = parts.filter(([, number]) => number > 0);
  const told = shown.map(([name, number]) => `${name} ${share(number / whole)}`).join(", ");
  return html`<div class="parts">
    <div class="strip" role="img" aria-label=${`${label}: ${told}`}>
      ${shown.map(([name, number, look]) => html`<i key=${name} class=${look || name} style=${{ flexGrow: number }}></i>`)}
    </div>
    <ul class="legend">
      ${shown.map(([name, number, look]) => html`<li key=${name}><i class=${look || name}></i>${name} <b>${share(number / whole)}</b></li>`)}
    </ul>
  </div>`;
}
