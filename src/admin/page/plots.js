// The six plots, with one crosshair through all, and the chips that choose their pool.

import { byId, list, make, set } from "./dom.js";
import { SPAN } from "./model.js";
import { count, span, timeInShort } from "./numbers.js";
import { linear, logarithmic, plot } from "./plot.js";

const line = (name) => (pools) =>
  combine(pools.map(({ history }) => history[name]), (one, other) => one + other);
/** Percentiles cannot be added up, so the pool where they are highest is shown. */
const highest = (name) => (pools) => combine(pools.map((pool) => times(pool, name)), Math.max);
/** A time below a microsecond is one; 0 is for seconds without a call. */
const times = ({ history }, name) =>
  history[name].map((micros, second) => micros || Math.sign(history.calls[second]));
const percentiles = (part) => [
  { name: "p50", colour: `${part} dashed`, column: highest(`${part}_p50_us`) },
  { name: "p99", colour: part, column: highest(`${part}_p99_us`) },
];
const most = (pools) => pools.reduce((total, { about }) => total + about.most, 0);

const number = (title, what, colour, name, limit) =>
  ({ title, what, limit, scale: linear, text: count, lines: [{ colour, column: line(name) }] });
const duration = (title, part) => ({
  title,
  what: `${part} of the slowest pool`,
  scale: logarithmic,
  text: (micros) => timeInShort(micros / 1e6),
  lines: percentiles(part),
});
const plans = [
  number("Calls/s", "calls that ended", "work", "calls"),
  number("Failures/s", "calls that failed", "bad", "failures"),
  number("Busy workers", "workers that hold a call", "work", "busy", most),
  number("Queue", "calls that wait for a worker", "wait", "queue"),
  duration("Wait", "wait"),
  duration("Work", "work"),
];

function combine([first = Array(SPAN).fill(0), ...others], join) {
  const add = (sum, column) => sum.map((value, second) => join(value, column[second]));
  return others.reduce(add, first);
}

let chosen = null;
/** The second below the crosshair. */
let cursor = null;
let pools = [];
let tellChoice;

const plots = plans.map((plan) => plot(plan, moveCursor));
byId("plots").append(...plots.map(({ element }) => element));

const chips = make("span");
byId("chips").append(make("span", "Last ten minutes of"), chips);
const showChips = list(chips, (name) => name ?? "", (name) => {
  const element = make("button", { type: "button", click: () => choose(name) }, name ?? "all pools");
  return { element, show: () => set(element, "aria-pressed", name === chosen) };
});

/** Shows only the pool of this name; null: all. */
export function choose(name) {
  chosen = name;
  show();
  tellChoice(name);
}

export function onChosen(listener) {
  tellChoice = listener;
}

export function showPlots(model) {
  pools = model.pools;
  if (!pools.some(({ name }) => name === chosen)) chosen = null;
  show();
}

function show() {
  showChips([null, ...pools.map(({ name }) => name)]);
  const shown = chosen === null ? pools : pools.filter(({ name }) => name === chosen);
  for (const each of plots) each.show(shown, cursorNow());
}

function cursorNow() {
  if (cursor === null || !pools.length) return null;
  const past = SPAN - 1 - cursor;
  const when = new Date((pools[0].history.end - past) * 1000).toLocaleTimeString();
  return { second: cursor, text: `${when}, ${span(past)} ago` };
}

function moveCursor(second) {
  if (second === cursor) return;
  cursor = second;
  show();
}

byId("plots").addEventListener("blur", () => moveCursor(null));
byId("plots").addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (event.key === "Escape") moveCursor(null);
  if (!step) return;
  event.preventDefault();
  moveCursor(Math.max(0, Math.min(SPAN - 1, (cursor ?? SPAN - 1) + step)));
});
