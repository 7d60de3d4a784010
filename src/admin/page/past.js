// What went wrong in a pool lately.

import { showRecord } from "./actions.js";
import { button, list, make, write } from "./dom.js";
import { verdictWords } from "./model.js";
import { ago, count, time } from "./numbers.js";

/** Ends and outcomes that nobody has to look at. */
const GOOD = new Set(["recycled", "scaled_down", "reloaded", "stopped", "ok", "abandoned"]);
const MOST = 6;

export function past(name) {
  const parts = [
    part("Failures, 10 min", failuresOf, ({ code }) => code, failureRow),
    part("Last exits", (pool) => pool.last_exits, ({ worker }) => worker, exitRow),
    part("Slow calls", (pool) => pool.slow, ({ call }) => call, slowRow, "ol.slows"),
  ];
  const calm = make("p.none", "No failures, exits or slow calls.");
  const label = { "aria-label": `What went wrong in ${name}` };
  const element = make("aside", label, ...parts.map((one) => one.element), calm);
  const show = (pool) => {
    for (const one of parts) one.show(pool);
    calm.hidden = parts.some((one) => !one.element.hidden);
  };
  return { element, show };
}

function part(title, itemsOf, keyOf, makeView, kind = "ol") {
  const items = make(kind);
  const element = make("div", make("h3", title), items);
  const showItems = list(items, keyOf, makeView);
  const show = (pool) => {
    const shown = itemsOf(pool).slice(0, MOST);
    element.hidden = !shown.length;
    showItems(shown);
  };
  return { element, show };
}

function failuresOf({ failures }) {
  const codes = Object.entries(failures.by_code).map(([code, number]) => ({ code, number }));
  codes.sort((one, other) => other.number - one.number);
  return codes.map((failure) => ({ ...failure, most: codes[0].number }));
}

function failureRow({ code }) {
  const bar = make("i.bad");
  const text = make("span.num");
  const show = ({ number, most }) => {
    bar.style.width = `${(100 * number) / most}%`;
    write(text, count(number));
  };
  return { element: make("li.failure", make("code", code), make("span", bar), text), show };
}

/** A row that begins with how long ago it was. */
function agoRow(kind, ...children) {
  const when = make("span.ago");
  const show = (item) => write(when, ago(item.ago_seconds));
  return { element: make(`li.${kind}`, when, ...children), show };
}

function exitRow({ worker, reason, exit, record }) {
  const word = make(GOOD.has(reason) ? "b" : "b.bad", reason);
  const what = make("span", word, ` worker ${worker}, ${exit}`);
  if (!record) return agoRow("exit", what);
  const title = `Record of worker ${worker}`;
  return agoRow("exit", what, button(".link", "record", title, () => showRecord(worker)));
}

function slowRow({ call, route, worker, wait_seconds: wait, work_seconds: work, ...rest }) {
  const title = [route, `call ${call}`];
  if (worker !== null) title.push(`worker ${worker}`);
  if (rest.verdict) title.push(verdictWords(rest));
  const isWait = wait > work;
  return agoRow(
    "slow",
    make("code", { title: title.join(", ") }, route),
    make(isWait ? "span.wait" : "span", { title: "in the queue" }, time(wait)),
    make(isWait ? "span" : "span.work", { title: "in its worker" }, time(work)),
    make(GOOD.has(rest.outcome) ? "span" : "b.bad", rest.outcome),
  );
}
