// A row for each pool: how busy it is, how long its calls wait and work, and what it costs.

import { byId, draw, list, make, set, tableHead, write } from "./dom.js";
import { SPAN, STATES, callRate, failedPart, hitRate } from "./model.js";
import { bytes, count, percent, time } from "./numbers.js";
import { outline } from "./plot.js";
import { choose, onChosen } from "./plots.js";

const first = [
  { title: "Pool", kind: "" },
  { title: "Workers", kind: "" },
  { title: "Calls/s", kind: ".num" },
  { ears: "Calls of ten minutes", kind: ".spark.wide" },
];
const isFailing = (pool) => failedPart(pool) > 0.01;
const isFull = ({ queue, about }) => queue.overloaded || queue.length > 4 * about.most;
const quantile = (part, name, wide) => ({
  title: `${part} ${name}`,
  kind: `.num.${part}${wide}`,
  text: ({ recent }) => time(recent[`${part}_seconds`]?.[name]),
});
const numbers = [
  { title: "Failed", kind: ".num.wide", text: (pool) => percent(failedPart(pool)), isHot: isFailing },
  { title: "Queue", kind: ".num", text: ({ queue }) => count(queue.length), isHot: isFull },
  quantile("wait", "p50", ".wide"),
  quantile("wait", "p99", ""),
  quantile("work", "p50", ".wide"),
  quantile("work", "p95", ".wide"),
  quantile("work", "p99", ""),
  { title: "Hits", kind: ".num.wide", text: (pool) => percent(hitRate(pool)) },
  { title: "CPU", kind: ".num.wide", text: ({ cpu }) => cpu?.toFixed(1) ?? "–" },
  { title: "Memory", kind: ".num.wide", text: ({ memory }) => bytes(memory) },
];

const body = make("tbody");
const caption = make("caption.unseen", "A row for each pool; times are of the last minute");
byId("overview").append(caption, tableHead([...first, ...numbers]), body);
const showRows = list(body, ({ name }) => name, ({ name }) => poolRow(name));

export function showOverview({ pools, status: { notices } }) {
  for (const one of pools) one.isNoticed = notices.some(({ pool }) => pool === one.name);
  showRows(pools);
}

function poolRow(name) {
  const bar = stateBar();
  const calls = make("td.num");
  const spark = sparkline();
  const cells = numbers.map(({ kind }) => make(`td${kind}`));
  const title = "Only this pool in the plots";
  const pick = make("button.name", { type: "button", title, "aria-pressed": "false" }, name);
  pick.addEventListener("click", () => choose(pick.ariaPressed === "true" ? null : name));
  const element = make(
    "tr",
    make("th", { scope: "row" }, pick), bar.element, calls,
    make("td.spark.wide", spark.element), ...cells,
  );
  const show = (pool) => {
    bar.show(pool);
    spark.show(pool.history.calls);
    write(calls, count(callRate(pool)));
    pick.classList.toggle("noticed", pool.isNoticed);
    numbers.forEach((column, index) => {
      const cell = cells[index];
      write(cell, column.text(pool));
      cell.classList.toggle("none", ["–", "0"].includes(cell.textContent));
      cell.classList.toggle("hot", Boolean(column.isHot?.(pool)));
    });
  };
  return { element, show };
}

onChosen((chosen) => {
  for (const pick of body.querySelectorAll("button")) {
    set(pick, "aria-pressed", pick.textContent === chosen);
  }
});

function stateBar() {
  const parts = [...STATES, "room"].map((state) => make(`i.${state}`));
  const said = make("span.said");
  const element = make("td", make("span.bar", ...parts), said);
  const show = ({ states, about }) => {
    const counts = STATES.map((state) => states[state]);
    const all = counts.reduce((sum, count) => sum + count, 0);
    [...counts, Math.max(0, about.most - all)].forEach((size, index) => {
      parts[index].hidden = !size;
      parts[index].style.flexGrow = size;
    });
    write(said, `${states.busy}/${all - states.leaving} busy`);
    const words = STATES.map((state) => `${states[state]} ${state}`).join(", ");
    set(element, "title", `${words}; at most ${about.most}`);
  };
  return { element, show };
}

function sparkline() {
  const dots = 120;
  const step = SPAN / dots;
  const line = draw("path", { class: "line work" });
  const area = draw("path", { class: "area work" });
  const box = { viewBox: `0 0 ${dots - 1} 20`, preserveAspectRatio: "none", "aria-hidden": "true" };
  const show = (calls) => {
    const sums = Array.from({ length: dots }, (_, index) =>
      calls.slice(index * step, (index + 1) * step).reduce((sum, value) => sum + value));
    const high = Math.max(1, ...sums);
    const way = outline(sums, (sum) => (19 - (sum / high) * 17).toFixed(1));
    set(line, "d", way);
    set(area, "d", `${way}V20H0Z`);
  };
  return { element: draw("svg", box, area, line), show };
}
