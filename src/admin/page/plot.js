// One plot of ten minutes, as SVG, which a test and a screen reader can read.

import { draw, make, set, write } from "./dom.js";
import { SPAN } from "./model.js";

const HEIGHT = 100;
/** Where a scale ends, so that a line there is not cut in half. */
const ROOM = 98;

/** A scale from 0 to the next round number above the highest value. */
export const linear = {
  ends: (highest) => [0, roundUp(highest || 1)],
  part: (value, [, high]) => value / high,
  grid: () => [0.5],
  has: () => true,
};

/** A scale in decades, because times differ by them. A time of 0 says that there was no call. */
export const logarithmic = {
  ends(highest, least) {
    if (!highest) return [1, 1000];
    const high = 10 ** Math.ceil(Math.log10(highest));
    return [Math.min(10 ** Math.floor(Math.log10(least)), high / 100), high];
  },
  part: (value, [low, high]) => Math.log(value / low) / Math.log(high / low),
  grid([low, high]) {
    const decades = Math.round(Math.log10(high / low));
    return Array.from({ length: decades - 1 }, (_, index) => (index + 1) / decades);
  },
  has: (value) => value > 0,
};

function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 5, 7.5, 10].map((step) => step * power).find((step) => step >= value);
}

/**
 * Makes a plot by a plan, `{ title, what, scale, text, lines: [{ name, colour, column(pools) }] }`,
 * with `limit(pools)` where there is a most. `hover(second)` gets the place below the pointer.
 */
export function plot({ title, what, scale, text, lines, limit }, hover) {
  const [grid, ceiling, cursorLine] = ["grid", "limit", "cursor"].map(way);
  const area = way(`area ${lines[0].colour}`);
  const ways = lines.map(({ colour }) => way(`line ${colour}`));
  const box = { viewBox: `0 0 ${SPAN} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" };
  const svg = draw("svg", box, grid, area, ceiling, ...ways, cursorLine);
  const values = lines.map(() => make("span"));
  const [top, bottom, left, right] = Array.from({ length: 4 }, () => make("span"));

  svg.addEventListener("pointerleave", () => hover(null));
  svg.addEventListener("pointermove", ({ clientX }) => {
    const { left: from, width } = svg.getBoundingClientRect();
    hover(Math.min(SPAN - 1, Math.max(0, Math.round(((clientX - from) / width) * (SPAN - 1)))));
  });

  // `cursor` is `{ second, text }` or null.
  function show(pools, cursor) {
    const columns = lines.map(({ column }) => column(pools));
    const most = limit?.(pools) ?? 0;
    const shown = columns.flat().filter(scale.has);
    const highest = shown.reduce((high, value) => Math.max(high, value), most);
    const ends = scale.ends(highest, shown.reduce((low, value) => Math.min(low, value), highest));
    const heightOf = (part) => (HEIGHT - Math.max(0, Math.min(1, part)) * ROOM).toFixed(1);
    const height = (value) => heightOf(scale.part(value, ends));
    columns.forEach((column, index) => set(ways[index], "d", outline(column, height, scale.has)));
    set(area, "d", scale === linear ? `${ways[0].getAttribute("d")}V${HEIGHT}H0Z` : "");
    set(grid, "d", scale.grid(ends).map((part) => `M0 ${heightOf(part)}H${SPAN}`).join(""));
    set(ceiling, "d", most ? `M0 ${height(most)}H${SPAN}` : "");
    set(cursorLine, "d", cursor ? `M${cursor.second} 0V${HEIGHT}` : "");
    write(bottom, text(ends[0]));
    write(top, text(ends[1]));
    write(left, cursor ? "" : "10 min ago");
    write(right, cursor?.text ?? "now");
    const said = columns.map((column, index) => {
      const value = column[cursor?.second ?? SPAN - 1];
      write(values[index], (scale.has(value) ? text(value) : "–") + (most ? ` / ${text(most)}` : ""));
      return `${lines[index].name ?? "now"} ${values[index].textContent}`;
    });
    set(svg, "aria-label", `${title}, ${what}: ${said.join(", ")}`);
  }

  const named = lines.map(({ name = "", colour }, index) =>
    make("span.value", make(`i.${colour.split(" ")[0]}`, name), values[index]));
  const element = make(
    "figure",
    make("figcaption", { title: what }, make("b", title), ...named),
    make("div.scale", { "aria-hidden": "true" }, top, bottom),
    svg,
    make("div.axis", { "aria-hidden": "true" }, left, right),
  );
  return { element, show };
}

const way = (kind) => draw("path", { class: kind });

/** A line through the values that there are. One that stands alone is a dot. */
export function outline(column, height, has = () => true) {
  const steps = column.map((value, x) => {
    if (!has(value)) return "";
    const isNext = x > 0 && has(column[x - 1]);
    return isNext ? `L${x} ${height(value)}` : `M${x} ${height(value)}h0`;
  });
  return steps.join("");
}
