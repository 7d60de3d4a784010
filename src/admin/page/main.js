// Starts the page: what the stream tells goes into the model, and the model is shown.

import { reload } from "./actions.js";
import { announce, showBar, showHealth, showStream } from "./bar.js";
import { askForKey } from "./dialogs.js";
import { byId, set, write } from "./dom.js";
import { hasKey, keep, onKey, takeFromAddress } from "./key.js";
import { Model } from "./model.js";
import { showNotices } from "./notices.js";
import { showOverview } from "./overview.js";
import { choose, showPlots } from "./plots.js";
import { showPools } from "./pools.js";
import { makeStream } from "./stream.js";

const model = new Model();
const stream = makeStream("events", take, tell);
const parts = new Set([showBar, showNotices, showOverview, showPlots, showPools]);
let isPaused = false;

function take(name, status) {
  if (name === "hello") model.hello(status);
  // A reload has made a pool that only a new `hello` describes.
  else if (name === "tick" && !model.tick(status)) return stream.open();
  return show();
}

function show() {
  if (!model.status) return;
  if (document.hidden) return showHealth(model.status);
  for (const part of parts) part(model);
  const { background, spread } = model.status;
  if (background) load("./jobs.js");
  if (spread) load("./hosts.js");
}

/** Most servers need none of these. */
async function load(file) {
  const { show: part } = await import(file).catch(() => ({}));
  if (!part || parts.has(part)) return;
  parts.add(part);
  part(model);
}

function tell(state, why, status) {
  showStream(state, why);
  if (status !== 401) return;
  // The key of a server changes with each start. Without one, the page may still look.
  if (hasKey()) {
    announce(why, "bad");
    return keep("");
  }
  stream.close();
  askForKey("This server shows what it does only to those who have its admin token.");
}

/** A picture that is held still needs no stream; the next `hello` brings what it missed. */
function pause() {
  isPaused = !isPaused;
  set(byId("pause"), "aria-pressed", isPaused);
  write(byId("pause"), isPaused ? "Go on" : "Pause");
  if (!isPaused) return stream.open();
  stream.close();
  showStream("paused");
}

takeFromAddress();
onKey(() => isPaused || stream.open());
byId("pause").addEventListener("click", pause);
byId("reload").addEventListener("click", reload);
document.addEventListener("visibilitychange", show);

// Keys that stand for a button, but not while somebody types.
addEventListener("keydown", ({ key, ctrlKey, metaKey, altKey, target }) => {
  if (ctrlKey || metaKey || altKey || target.closest?.("input, dialog")) return;
  if (key === "p") pause();
  if (key === "t") byId("theme").click();
  if (/^\d$/.test(key)) choose(model.pools[key - 1]?.name ?? null);
});

stream.open();
