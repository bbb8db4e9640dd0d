// SPDX-License-Identifier: Apache-2.0
// Numbers and times as people read them. Every function takes what the server says: shares are
// 0 to 1, durations seconds, instants Unix seconds; null is "not known" and shown as a dash.

const NARROW = "\u202f";
const NONE = "–";

function plain(number) {
  if (number >= 10_000) return `${(number / 1000).toFixed(0)}${NARROW}k`;
  if (number >= 1000) return `${(number / 1000).toFixed(1)}${NARROW}k`;
  if (number >= 10 || number === 0) return number.toFixed(0);
  return number >= 0.1 ? number.toFixed(1) : number >= 0.005 ? number.toFixed(2) : "<0.01";
}

export function count(number) {
  return number == null ? NONE : number >= 1000 ? plain(number) : String(Math.round(number));
}

export function rate(perSecond) {
  return perSecond == null ? NONE : `${plain(perSecond)}/s`;
}

export function share(part) {
  if (part == null) return NONE;
  const percent = part * 100;
  if (percent === 0 || percent === 100) return `${percent}${NARROW}%`;
  if (percent < 0.1) return `<0.1${NARROW}%`;
  if (percent > 99.9) return `>99.9${NARROW}%`;
  return `${percent < 10 ? percent.toFixed(1) : percent.toFixed(0)}${NARROW}%`;
}

export function duration(seconds) {
  if (seconds == null) return NONE;
  if (seconds < 0.001) return `<1${NARROW}ms`;
  if (seconds < 1) return `${(seconds * 1000).toFixed(0)}${NARROW}ms`;
  if (seconds < 10) return `${seconds.toFixed(1).replace(".0", "")}${NARROW}s`;
  if (seconds < 120) return `${seconds.toFixed(0)}${NARROW}s`;
  if (seconds < 7200) return `${(seconds / 60).toFixed(0)}${NARROW}min`;
  if (seconds < 172_800) return `${(seconds / 3600).toFixed(0)}${NARROW}h`;
  return `${(seconds / 86_400).toFixed(0)}${NARROW}days`;
}

export function ago(then, now) {
  const seconds = now - then;
  return seconds < 2 ? "just now" : `${duration(Math.max(1, Math.round(seconds)))} ago`;
}

export function left(until, now) {
  return until <= now ? "ending" : `${duration(Math.round(until - now))} left`;
}

export function clock(instant) {
  const when = new Date(instant * 1000);
  const time = when.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const today = new Date().toDateString() === when.toDateString();
  return today ? time : `${when.toLocaleDateString([], { month: "short", day: "numeric" })} ${time}`;
}

export function iso(instant) {
  return new Date(instant * 1000).toISOString();
}

export function bytes(number) {
  if (number == null) return NONE;
  for (const unit of ["B", "KB", "MB", "GB"]) {
    if (number < 1000 || unit === "GB") return `${plain(number)}${NARROW}${unit}`;
    number /= 1000;
  }
  return NONE;
}

// What the amount of a fault is counted in.
const UNITS = { delay: `${NARROW}s`, cut: `${NARROW}bytes`, trickle: `${NARROW}bytes/s` };

// What a value of an override looks like in a sentence.
export function spoken(value) {
  if (value === true) return "on";
  if (value == null) return "nothing";
  if (typeof value !== "object") return String(value).replaceAll("_", " ");
  return Object.entries(value)
    .map(([name, part]) => (name === "share" ? `${+(100 * part).toPrecision(4)}%` : name === "amount" ? `${part}${UNITS[value.kind] || ""}` : part))
    .join(" ");
}

export function routePage(key) {
  return `/route?key=${encodeURIComponent(key)}`;
}
