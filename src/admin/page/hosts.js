// The other servers that share calls with this one, a row for each of their pools.

import { byId, list, make, tableHead, write } from "./dom.js";
import { time } from "./numbers.js";

const columns = ["Host", "Machine", "Pool", "Busy", "Heard", "State"];
const body = make("tbody");
const table = make(
  "table", { id: "hosts" },
  make("caption.unseen", "Other servers that share calls"),
  tableHead(columns.map((title) => ({ title, kind: title === "Heard" ? ".num" : "" }))),
  body,
);
const region = { tabindex: "0", role: "region", "aria-label": "Other servers" };
const element = make("div.scroll", region, table);
byId("chips").before(element);
const showRows = list(body, ({ key }) => key, row);

export function show({ status: { spread } }) {
  const rows = (spread?.hosts ?? []).flatMap(({ pools, ...host }) =>
    (pools.length ? pools : [null]).map((pool, index) => ({ ...host, pool, key: host.node + index })));
  element.hidden = !rows.length;
  showRows(rows);
}

function row() {
  const cells = columns.map((title) => make(title === "Heard" ? "td.num" : "td"));
  const element = make("tr", ...cells);
  const show = ({ node, machine, heard_seconds: heard, draining, pool }) => {
    const [name, use] = pool ? [pool.name, `${pool.busy}/${pool.workers}`] : ["–", ""];
    const texts = [node.slice(0, 8), machine, name, use, time(heard)];
    [...texts, state(draining, pool)].forEach((text, index) => write(cells[index], text));
  };
  return { element, show };
}

function state(draining, pool) {
  if (!pool) return "no pool";
  const { shares, differs, workers } = pool;
  if (draining) return "draining";
  if (differs) return `other ${differs.join(", ")}`;
  if (!shares) return "not a pool of this server";
  return workers ? "shares calls" : "asks only";
}
