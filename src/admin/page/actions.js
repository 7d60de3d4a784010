// What an operator can do: asked first, sent once, and its outcome told.

import { announce } from "./bar.js";
import { ask, askForKey } from "./dialogs.js";
import { button } from "./dom.js";
import { hasKey, headers, onKey } from "./key.js";
import { refusal } from "./stream.js";

const open = {
  reload: {
    path: "reload",
    title: "Read the configuration again?",
    text: "A bad one is refused, and what runs goes on. No call is lost.",
    verb: "Reload",
  },
  forgive: {
    method: "DELETE",
    path: "poisonous",
    title: "Forgive refused questions?",
    text: "They cost workers before, and may do so again.",
    verb: "Forgive",
  },
};

const locked = {
  recyclePool: (pool) => ({
    path: `pools/${encodeURIComponent(pool)}/recycle`,
    title: `Recycle all workers of ${pool}?`,
    text: "Each is replaced once its successor is ready. No call is lost.",
    verb: "Recycle all",
  }),
  recycle: (worker) => ({
    path: `workers/${worker}/recycle`,
    title: `Recycle worker ${worker}?`,
    text: "It finishes its calls, and ends once its successor is ready.",
    verb: "Recycle",
  }),
  kill: (worker) => ({
    path: `workers/${worker}/kill`,
    title: `Kill worker ${worker} now?`,
    text: "The calls in it fail as worker_lost; those of idempotent routes are tried again.",
    verb: "Kill",
    isDanger: true,
  }),
};

/** Makes a button for `recyclePool`, `recycle` or `kill`; without the key it leads to the key. */
export function lockedButton(kind, text, name, of) {
  const action = locked[name](of);
  const title = action.title.replace(/( now)?\?$/, "");
  const click = () => (hasKey() ? perform(action) : askForKey(`“${title}” needs the key.`));
  return showLock(button(`.locked${kind}`, text, title, click));
}

function showLock(locked) {
  locked.ariaDisabled = hasKey() ? null : "true";
  locked.title = locked.ariaLabel + (hasKey() ? "" : ": needs the key of httpipe open");
  return locked;
}

onKey(() => document.querySelectorAll(".locked").forEach(showLock));

export const reload = () => perform(open.reload);
export const forgive = () => perform(open.forgive);

async function perform(action) {
  if (!(await ask(action))) return;
  const response = await send(action);
  if (!response.ok) {
    announce(`${action.verb} failed: ${await refusal(response)}`, "bad");
    return;
  }
  const isText = response.headers.get("content-type")?.startsWith("text/plain");
  announce(`${action.verb}: done. ${isText ? await response.text() : ""}`.trim());
}

function send({ method = "POST", path }) {
  const unanswered = () => Response.json({ detail: "the server does not answer" }, { status: 502 });
  return fetch(path, { method, headers: headers() }).catch(unanswered);
}

export async function showRecord(worker) {
  if (!hasKey()) {
    await askForKey("A record holds what callers asked, so it needs the key.");
    return;
  }
  const response = await send({ method: "GET", path: `records/${worker}` });
  const lines = await (response.ok ? response.text() : refusal(response));
  await ask({ title: `Record of worker ${worker}`, text: "Kept in memory only.", lines });
}

/** Says how to see the wire of a pool, or of one of its workers. */
export function showTap(pool, worker) {
  const only = worker === undefined ? `--pool '${pool}'` : `--worker ${worker}`;
  return ask({
    title: `Tap ${worker === undefined ? pool : `worker ${worker}`}`,
    text: "In a terminal, this shows what is read and written, as it happens:",
    lines: `httpipe tap ${location.origin} ${only}`,
  });
}
