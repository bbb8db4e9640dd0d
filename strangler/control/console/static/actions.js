// SPDX-License-Identifier: Apache-2.0
// What can be done, as plain data: what a sheet says and asks, and what is sent. Every kind of
// override that the API knows is here (a test compares them).

const SITE = "the whole site";
const ALL = "all of it";
const ROUTE_ONLY = "this route";

export const TIMES = [
  ["15m", "15 min"],
  ["30m", "30 min"],
  ["2h", "2 h"],
  ["8h", "8 h"],
];
// A fault is an exercise: it lasts an hour at most.
const FAULT_TIMES = [
  ["5m", "5 min"],
  ["15m", "15 min"],
  ["30m", "30 min"],
  ["1h", "1 h"],
];

const subject = (on) => (on.key ? `route:${on.key}` : "site");
const stage = (route, { value }) => ({ kind: "stage", subject: `route:${route.key}`, value });

// One thing to choose: `choices` are words, or [word, what it is called]; `told` says what each
// means; `free` is the placeholder of a field for another. The first choice is the one to begin with.
const choose = (name, legend, choices, more = {}) => ({ name, legend, choices, ...more });

const FAULTS = {
  delay: "wait before the service is asked",
  abort: "answer for the service, or reset",
  cut: "break off in the body",
  trickle: "let the body come slowly",
  corrupt: "turn bits of the body",
};
const AMOUNTS = {
  delay: ["By how much?", [["2", "2 s"], ["5", "5 s"], ["15", "15 s"]], "other seconds"],
  abort: ["With what?", [["503", "503"], ["500", "500"], ["0", "reset"]], "another status"],
  cut: ["After how much?", [["0", "at once"], ["1024", "1 KB"], ["65536", "64 KB"]], "other bytes"],
  trickle: ["How fast?", [["1000", "1 KB/s"], ["10000", "10 KB/s"], ["100", "100 B/s"]], "other bytes/s"],
  corrupt: ["How many pieces?", [["0.1", "a tenth"], ["0.01", "a hundredth"], ["1", "all"]], "another, 0 to 1"],
};

// name: what its sheet says and what is sent. `asks` are the choices before, of what is chosen so
// far; `path` is where it is posted if it is no plain override, `preview` then the override that it
// comes to; `rollout` is what the sheet shows of the route's rollout; `timed` false: it has no end
// of its own; `bare`: it asks neither why nor for how long.
export const ACTIONS = {
  legacy: {
    title: (route) => ["Back to legacy", route.key],
    verb: "Back to legacy",
    danger: true,
    path: "/-/back",
    body: (route) => ({ route: route.key, to: "legacy" }),
    preview: (route) => stage(route, { value: "legacy" }),
    rollout: "readiness",
    reason: (route) => (route.verdict && route.verdict !== "good" && route.why) || "",
    done: (route) => `${route.key} is back on legacy`,
  },
  stage: {
    title: (route) => ["Set the stage", route.key],
    verb: "Set it",
    asks: (route) => [
      choose("value", "To what?", ["legacy", "shadow 10%", "canary 1%", "canary 5%", "canary 10%", "canary 25%", "canary 50%", "live"].filter((one) => one !== route.stage.effective), { free: "or another, such as canary 15%" }),
    ],
    body: stage,
    done: (route, { value }) => `${route.key} is ${value}`,
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
    preview: (route) => ({ kind: "hold", subject: subject(route), value: true }),
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
    title: (on) => ["Cache mode", on.key || SITE],
    verb: "Set it",
    asks: () => [
      choose("value", "What of the copies?", ["stale_only", "archive_only", "bypass"], {
        told: { stale_only: "Serve what is stored, ask nobody.", archive_only: "Serve the archive's copies.", bypass: "Store and serve nothing." },
      }),
    ],
    body: (on, { value }) => ({ kind: "cache", subject: subject(on), value }),
    done: (on, { value }) => `${on.key || "The site"}: cache ${value.replace("_", " ")}`,
  },
  maintenance: {
    title: (on) => ["Maintenance page", on.key || SITE],
    verb: "Show the page",
    danger: true,
    asks: () => [{ name: "page", free: "the edge's own; or pages/….html", label: "Which page?" }],
    body: (on, { page }) => ({ kind: "maintenance", subject: subject(on), value: page ? { page } : true }),
    done: (on) => `${on.key || "The site"} shows the maintenance page`,
  },
  drain: {
    title: (upstream) => ["Drain", upstream.name],
    verb: "Drain",
    danger: true,
    asks: (upstream) => [choose("value", "What of it?", upstream.endpoints.length > 1 ? [...upstream.endpoints, ALL] : [ALL])],
    body: (upstream, { value }) => ({ kind: "drain", subject: value === ALL ? `upstream:${upstream.name}` : `endpoint:${upstream.name} ${value}`, value: true }),
    done: (upstream, { value }) => `${value === ALL ? upstream.name : value} gets nothing new`,
  },
  priority: {
    title: (route) => ["Priority", route.key],
    verb: "Set it",
    asks: () => [
      choose("value", "Which?", ["low", "normal", "high"], {
        told: { low: "The first to be refused when the edge is short.", normal: "As if the file said nothing.", high: "The last to be refused." },
      }),
    ],
    body: (route, { value }) => ({ kind: "priority", subject: subject(route), value }),
    done: (route, { value }) => `${route.key}: priority ${value}`,
  },
  purge: {
    title: (route) => ["Purge", route.key],
    verb: "Purge",
    danger: true,
    path: "/-/purge",
    bare: true,
    asks: () => [
      choose("value", "How?", ["make stale", "remove"], {
        told: { "make stale": "Asked for anew; where nobody answers, the old copy still serves.", remove: "Gone from every tier." },
      }),
    ],
    body: (route, { value }) => ({ route: route.key, soft: value === "make stale" }),
    done: (route) => `${route.key} is purged`,
  },
  // Of an upstream, or of a route: then of the route alone or of the upstream that it shares.
  breaker: {
    title: (on) => ["Breaker", on.key || on.name],
    verb: "Set it",
    asks: (on) => [
      ...(on.key ? [choose("whose", "Whose?", [ROUTE_ONLY, on.service || on.legacy])] : []),
      choose("value", "How?", ["forced_open", "forced_closed", "auto"], {
        told: { forced_open: "Ask it nothing: fall back at once.", forced_closed: "Ask it, whatever it answers.", auto: "Leave it to itself." },
      }),
    ],
    body: (on, { whose, value }) => ({ kind: "breaker", subject: whose === ROUTE_ONLY ? subject(on) : `upstream:${whose || on.name}`, value }),
    done: (on, { whose, value }) => `${whose === ROUTE_ONLY ? on.key : whose || on.name}: breaker ${value.replace("_", " ")}`,
  },
  fault: {
    title: (route) => ["Harm on purpose", route.key],
    verb: "Harm it",
    danger: true,
    times: FAULT_TIMES,
    asks: (route, { fault = "delay" }) => {
      const [legend, choices, free] = AMOUNTS[fault];
      return [
        choose("fault", "How?", Object.keys(FAULTS), { told: Object.fromEntries(Object.entries(FAULTS).map(([name, does]) => [name, `On purpose: ${does}.`])) }),
        choose("amount", legend, choices, { free }),
        choose("share", "How many requests?", ["1%", "10%", "50%", "100%"], { free: "another, such as 5%" }),
      ];
    },
    body: (route, { fault, share, amount }) => ({ kind: "fault", subject: subject(route), value: { kind: fault, share: parseFloat(share) / 100, amount: Number(amount) } }),
    done: (route, { fault, share }) => `${route.key}: ${fault} for ${share} of its requests`,
  },
  freeze: {
    title: () => ["Freeze all stage moves", SITE],
    verb: "Freeze",
    body: () => ({ kind: "freeze", subject: "site", value: true }),
    done: () => "No stage moves by itself",
  },
  shadows: {
    title: () => ["Stop all shadows", SITE],
    verb: "Stop them",
    body: () => ({ kind: "shadows", subject: "site", value: "stop" }),
    done: () => "No request is copied",
  },
};

// What is chosen where *picked* has been picked and *typed* been typed: the words by name.
export function chosen(asks, picked, typed) {
  return Object.fromEntries(
    asks.map(({ name, choices = [] }) => {
      const words = choices.map((one) => [one].flat()[0]);
      return [name, typed[name]?.trim() || (words.includes(picked[name]) ? picked[name] : words[0] || "")];
    }),
  );
}

// The override that an action comes to, null where it comes to none that is known before.
export function comesTo(action, on, given) {
  return (action.preview || (action.path ? () => null : action.body))(on, given);
}

// Whether who has signed in may change *on* (a route, an upstream or an override, each with its
// owner; nothing: the site), as the API will judge. Who hasn't may be anybody, and is asked then.
export function may(me, on = {}) {
  if (!me || ["operator", "admin"].includes(me.role)) return true;
  return me.role === "owner" && me.owners.includes(on.owner);
}

// The overrides in force already that an action on *on* is about: of a route its own, of an upstream
// those of its endpoints too, of nothing the site's.
export function inForce(overrides, name, on = {}) {
  const about = on.key ? subject(on) : on.name ? `upstream:${on.name}` : "site";
  return overrides.filter((one) => one.kind === name && (one.subject === about || (on.name && one.subject.startsWith(`endpoint:${on.name} `))));
}
