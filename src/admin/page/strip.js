// All workers of a pool as cells. They are one stop of the tab key; arrow keys move inside.

import { list, make, set } from "./dom.js";
import { isIll, slowAfter, verdictWords } from "./model.js";
import { time } from "./numbers.js";

/** `pick(id)` is called when a cell is pressed. */
export function strip(name, pick) {
  const element = make("div.strip", { role: "group", "aria-label": `All workers of ${name}` });
  const cells = () => [...element.children];
  const stopAt = (stop) => cells().forEach((cell) => set(cell, "tabindex", cell === stop ? 0 : -1));
  const showCells = list(element, ({ id }) => id, ({ id }) => cellView(id, pick));

  element.addEventListener("focusin", ({ target }) => stopAt(target));
  element.addEventListener("keydown", (event) => {
    const all = cells();
    const at = all.indexOf(event.target);
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: all.length - 1 }[event.key];
    if (!all[to]) return;
    event.preventDefault();
    all[to].focus();
  });
  const show = (pool, picked) => {
    showCells(pool.workers.map((worker) => ({ ...worker, pool, isPicked: worker.id === picked })));
    if (!cells().some(({ tabIndex }) => tabIndex === 0)) stopAt(element.firstChild);
  };
  return { element, show };
}

function cellView(id, pick) {
  const element = make("button", { type: "button", tabindex: "-1", click: () => pick(id) });
  const show = (worker) => {
    const words = [`worker ${id}, ${worker.state}`];
    if (worker.head) words.push(`${worker.head.route} for ${time(worker.head.since_seconds)}`);
    if (isIll(worker)) words.push(verdictWords(worker));
    set(element, "class", `cell ${worker.state} ${level(worker)}`);
    set(element, "aria-pressed", worker.isPicked);
    set(element, "title", words.join(": "));
  };
  return { element, show };
}

/** How long the call of a worker runs, against what is usual in its pool. */
function level({ pool, ...worker }) {
  if (isIll(worker)) return "bad";
  if (!worker.head) return "";
  const since = worker.head.since_seconds;
  const p99 = pool.recent.work_seconds?.p99 ?? Infinity;
  if (since > slowAfter(pool)) return "stuck";
  if (since > p99) return "late";
  return since > p99 / 4 ? "" : "fresh";
}
