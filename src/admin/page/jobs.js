// What runs in the background: jobs, items of batches, and how many calls go together. This file is
// loaded once there is something of that.

import { ask, askForKey } from "./dialogs.js";
import { button, byId, list, make, tableHead, write } from "./dom.js";
import { hasKey, headers } from "./key.js";
import { count, percent, span, time } from "./numbers.js";
import { refusal } from "./stream.js";

const some = (number) => (number ? count(number) : "–");
const number = (title, wide, text) => ({ title, kind: `.num${wide}`, text });
const jobs = (title, state, wide = "") => number(title, wide, ({ jobs }) => some(jobs?.[state]));
const items = (title, which, wide = "") => number(title, wide, ({ batches }) => some(batches?.[which]));

const ofPool = [
  jobs("Queued", "queued"),
  number("Oldest", "", ({ jobs }) => time(jobs?.oldest_seconds)),
  jobs("Running", "running"),
  jobs("Succeeded", "succeeded", ".wide"),
  { ...jobs("Failed", "failed"), isHot: ({ jobs }) => jobs?.failed > 0 },
  jobs("Canceled", "canceled", ".wide"),
  items("Batches", "open"),
  items("Items running", "running", ".wide"),
  items("Items waiting", "waiting", ".wide"),
  number("Calls a group", ".wide", ({ groups }) => some(groups?.groups && groups.calls / groups.groups)),
];
const ofJob = [
  { title: "Route", kind: ".call", text: ({ route }) => route },
  number("For", "", (job) => span(job.since_seconds)),
  number("Done", "", ({ fraction }) => percent(fraction)),
  { title: "Says", kind: ".call", text: ({ text }) => text ?? "" },
  { title: "Job", kind: ".num.wide", text: ({ id }) => id ?? "" },
];

const about = make("span.about");
const failed = button("", "Failed jobs", "Show the failed jobs", showFailed);
const pools = table("Background work of the pools", "Pool", ofPool, ({ pool }) => pool);
const running = table("Jobs that run", "Job of", ofJob, ({ key }) => key);
const title = make("h2", { id: "jobs" }, "In the background");
const element = make(
  "section.pool", { "aria-labelledby": "jobs" },
  make("div.title", title, about, make("span.acts", failed)), pools.element, running.element,
);
byId("pools").before(element);

export function show({ status: { background } }) {
  element.hidden = !background;
  if (!background) return;
  pools.show(background.pools);
  const keyOf = ({ id, pool }, index) => `${id ?? index} ${pool}`;
  running.show(background.running.map((job, index) => ({ ...job, key: keyOf(job, index) })));
  failed.hidden = !background.pools.some(({ jobs }) => jobs?.failed);
  const isSecret = background.running.length && !hasKey();
  write(about, isSecret ? "what jobs say is for those with the key" : "");
}

function table(label, first, columns, keyOf) {
  const body = make("tbody");
  const head = tableHead([{ title: first, kind: "" }, ...columns]);
  const region = { tabindex: "0", role: "region", "aria-label": label };
  const element = make("div.scroll", region, make("table", head, body));
  const showRows = list(body, keyOf, ({ pool }) => row(pool, columns));
  const show = (items) => {
    element.hidden = !items.length;
    showRows(items);
  };
  return { element, show };
}

function row(name, columns) {
  const cells = columns.map(({ kind }) => make(`td${kind}`));
  const element = make("tr", make("th", { scope: "row" }, name), ...cells);
  const show = (item) => columns.forEach(({ text, isHot }, index) => {
    write(cells[index], text(item));
    cells[index].classList.toggle("hot", Boolean(isHot?.(item)));
  });
  return { element, show };
}

async function showFailed() {
  if (!hasKey()) return askForKey("Which jobs failed is told to those with the key.");
  const gone = () => Response.json({ detail: "the server does not answer" }, { status: 502 });
  const response = await fetch("jobs?state=failed&limit=20", { headers: headers() }).catch(gone);
  const lines = response.ok ? JSON.stringify((await response.json()).jobs, null, 1) : await refusal(response);
  return ask({ title: "Failed jobs", text: "The latest first; what was asked is not shown.", lines });
}
