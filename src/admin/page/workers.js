// The workers of a pool, those first that need a look.

import { lockedButton, showTap } from "./actions.js";
import { button, list, make, set, tableHead, write } from "./dom.js";
import { isIll, slowAfter, verdictWords } from "./model.js";
import { bytes, count, percent, span, time } from "./numbers.js";

/** How many are shown until all are asked for. */
export const FEW = 8;

const facts = [
  { title: "State", kind: ".state", text: ({ state }) => state },
  { title: "Call", kind: ".call", text: callText },
  { title: "Since", kind: ".num.since", text: ({ head }) => (head ? time(head.since_seconds) : "") },
  { title: "In it", kind: ".num.wide", text: ({ in_flight: held }) => (held ? count(held) : "") },
  { title: "Answered", kind: ".num.wide", text: ({ calls }) => count(calls) },
  { title: "CPU", kind: ".num.wide", text: ({ cpu }) => percent(cpu) },
  { title: "Memory", kind: ".num.wide", text: ({ memory }) => bytes(memory) },
  { title: "Age", kind: ".num.wide", text: ({ age_seconds: age }) => span(age) },
];

function callText(worker) {
  const ill = isIll(worker) && verdictWords(worker);
  return [ill, worker.head?.route].filter(Boolean).join(" · ");
}

function callTitle({ head }) {
  if (!head) return "";
  const words = [head.route, bytes(head.bytes), `call ${head.call}`];
  if (head.retries) words.push(`${head.retries} workers lost with it`);
  if (head.abandoned) words.push("its caller has left");
  return words.join(", ");
}

/** `pick(id)` is called when the actions of a row are asked for. */
export function workerTable(name, pick) {
  const body = make("tbody");
  const head = tableHead([{ title: "Worker", kind: "" }, ...facts, { ears: "Actions", kind: "" }]);
  const region = { tabindex: "0", role: "region", "aria-label": `Workers of ${name}` };
  const element = make("div.scroll", region, make("table.workers", head, body));
  const showRows = list(body, ({ id }) => id, ({ id }) => workerRow(name, id, pick));

  /** Shows the workers that most need a look, or all; the one that was picked is the first. */
  const show = (pool, picked, isWhole) => {
    const workers = pool.workers.map((worker) => {
      const isLate = worker.head?.since_seconds > slowAfter(pool);
      return { ...worker, isLate, isPicked: worker.id === picked };
    });
    workers.sort((one, other) => urgency(other) - urgency(one) || one.id - other.id);
    showRows(isWhole ? workers : workers.slice(0, FEW));
  };
  return { element, show };
}

/** How much a worker needs a look. Short calls do not count, or the rows would never rest. */
function urgency(worker) {
  const { isPicked, isLate, head, state } = worker;
  if (isPicked) return 1e9;
  if (isIll(worker)) return 1e8;
  if (isLate) return head.since_seconds;
  return state === "starting" || state === "leaving" ? 1 : 0;
}

function workerRow(pool, id, pick) {
  const pid = make("span.pid.wide");
  const cells = facts.map(({ kind }) => make(`td${kind}`));
  const more = button(".more", "…", `Actions of worker ${id}`, () => pick(id));
  const buttons = [
    button("", "tap", `Tap worker ${id}`, () => showTap(pool, id)),
    lockedButton("", "recycle", "recycle", id),
    lockedButton(".danger", "kill", "kill", id),
    more,
  ];
  const name = make("th", { scope: "row" }, make("span", String(id)), pid);
  const element = make("tr", name, ...cells, make("td.acts", ...buttons));
  const show = (worker) => {
    write(pid, String(worker.pid || ""));
    facts.forEach(({ text }, index) => write(cells[index], text(worker)));
    const [state, call] = cells;
    set(state, "class", `state ${worker.state}`);
    set(call, "title", callTitle(worker));
    set(more, "aria-expanded", worker.isPicked);
    const level = isIll(worker) ? "bad" : worker.isLate ? "late" : "";
    set(element, "class", worker.isPicked ? `picked ${level}` : level);
  };
  return { element, show };
}
