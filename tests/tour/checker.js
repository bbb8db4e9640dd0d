// SPDX-License-Identifier: Apache-2.0
// What a checker of accessibility asks of any page, as far as a script can tell.
const wrong = [];
const seen = (one) => one.getClientRects().length && one.checkVisibility({ visibilityProperty: true });
const named = (one) => (one.getAttribute("aria-label") || one.innerText || one.labels?.[0]?.innerText
  || one.getAttribute("aria-labelledby") || one.title || "").trim();
for (const one of document.querySelectorAll("button, a[href], input, select, textarea, summary")) {
  if (seen(one) && !named(one)) wrong.push("no name: " + one.outerHTML.slice(0, 120));
}
for (const one of document.querySelectorAll("[role=img]")) {
  if (!one.getAttribute("aria-label")) wrong.push("no name: " + one.outerHTML.slice(0, 120));
}
for (const one of document.querySelectorAll("[aria-labelledby], [aria-describedby]")) {
  const ids = `${one.getAttribute("aria-labelledby") || ""} ${one.getAttribute("aria-describedby") || ""}`;
  for (const id of ids.split(" ").filter(Boolean)) {
    if (!document.getElementById(id)) wrong.push("no element " + id);
  }
}
const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) wrong.push("twice: " + id);
const levels = [...document.querySelectorAll("h1, h2, h3")].map((one) => +one.tagName[1]);
if (levels.filter((level) => level === 1).length !== 1) wrong.push("not one h1");
levels.forEach((level, i) => i && level > levels[i - 1] + 1 && wrong.push("a level left out"));
if (document.querySelectorAll("main").length !== 1) wrong.push("not one main");
if (!document.documentElement.lang) wrong.push("no language");
if (document.documentElement.scrollWidth > innerWidth) wrong.push("scrolls sideways");
for (const one of document.querySelectorAll("table, pre")) {
  const most = one.parentElement.getBoundingClientRect().right + 1;
  if (seen(one) && !one.closest(".scroll") && one.getBoundingClientRect().right > most) wrong.push("sticks out: " + one.innerText.slice(0, 40));
}
for (const one of document.querySelectorAll("button, a[href]:not(p a, .skip), select, summary, input:not([type=radio])")) {
  const box = one.getBoundingClientRect();
  if (seen(one) && (box.height < 24 || box.width < 24)) wrong.push("small: " + named(one));
}
const channel = (c) => { c /= 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
const light = (rgb) => 0.2126 * channel(rgb[0]) + 0.7152 * channel(rgb[1]) + 0.0722 * channel(rgb[2]);
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const colours = {};
function rgba(text) {
  if (!colours[text]) {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
    colours[text] = [...canvas.getImageData(0, 0, 1, 1).data];
  }
  return colours[text];
}
function ground(one) {
  for (; one; one = one.parentElement) {
    const found = rgba(getComputedStyle(one).backgroundColor);
    if (found[3] > 250) return found;
  }
  return rgba(getComputedStyle(document.body).backgroundColor);
}
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const one = walker.currentNode.parentElement;
  const hidden = one.closest("script, noscript, .visually-hidden, .skip");
  if (!walker.currentNode.textContent.trim() || !seen(one) || hidden) continue;
  const [a, b] = [light(rgba(getComputedStyle(one).color)), light(ground(one))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const style = getComputedStyle(one);
  const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.6 && +style.fontWeight >= 700);
  if (ratio < (large ? 3 : 4.5)) wrong.push(`contrast ${ratio.toFixed(2)}: ${one.innerText.slice(0, 40)}`);
}
return wrong;
