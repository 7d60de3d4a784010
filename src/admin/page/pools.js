// A section for each pool: what it runs, its workers, and what went wrong.

import { lockedButton, showTap } from "./actions.js";
import { button, byId, list, make, set, write } from "./dom.js";
import { STATES } from "./model.js";
import { past } from "./past.js";
import { strip } from "./strip.js";
import { FEW, workerTable } from "./workers.js";

const showSections = list(byId("pools"), ({ name }) => name, ({ name }) => section(name));

export function showPools({ pools }) {
  showSections(pools);
}

/** Names may have any characters, so ids count. */
let sections = 0;

function section(name) {
  sections += 1;
  const id = `pool-${sections}`;
  let pool;
  let picked = null;
  let isWhole = false;
  const pick = (worker) => {
    picked = picked === worker ? null : worker;
    show(pool);
  };
  const cells = strip(name, pick);
  const table = workerTable(name, pick);
  const trouble = past(name);
  const command = make("code");
  const about = make("span.about");
  const counts = make("span.about");
  const whole = make("button.link", { type: "button", click: () => show(pool, !isWhole) });
  const acts = make(
    "span.acts",
    button("", "Tap", `Tap ${name}`, () => showTap(name)),
    lockedButton("", "Recycle all", "recyclePool", name),
  );
  const element = make(
    "section.pool", { "aria-labelledby": id },
    make("div.title", make("h2", { id }, name), command, about, counts, acts),
    cells.element,
    make("div.halves", make("div", table.element, whole), trouble.element),
  );

  function show(shown, isNowWhole = isWhole) {
    pool = shown;
    isWhole = isNowWhole;
    const { states, workers } = pool;
    write(command, pool.about.command);
    set(command, "title", pool.about.command);
    write(about, aboutText(pool.about));
    const held = STATES.filter((state) => states[state]);
    write(counts, held.map((state) => `${states[state]} ${state}`).join(", ") || "no worker");
    if (!workers.some((worker) => worker.id === picked)) picked = null;
    const isMany = workers.length > FEW;
    cells.element.hidden = !isMany;
    if (isMany) cells.show(pool, picked);
    table.show(pool, picked, isWhole);
    whole.hidden = !isMany;
    write(whole, isWhole ? "Show fewer" : `Show all ${workers.length} workers`);
    trouble.show(pool);
  }
  return { element, show };
}

function aboutText({ framing, matching, least, most }) {
  const size = least === most ? most : `${least}–${most}`;
  return `${framing} · ${matching} · ${size} worker${most === 1 ? "" : "s"}`;
}
