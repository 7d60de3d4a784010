// The bar, and the title of the tab: how the server is, and whether it talks to us.

import { byId, make, write } from "./dom.js";
import { health } from "./model.js";
import { bytes, count, span } from "./numbers.js";

const FACTS = {
  up: (status) => span(status.uptime_seconds),
  version: ({ server }) => server.version,
  "listens on": ({ listen }) => listen.join(", "),
  connections: ({ connections }) => count(connections),
  balancers: ({ agent }) => agent && (agent.balancers ? agent.said : "none asks"),
  NATS: ({ spread }) => spread && (spread.connected ? "connected" : `away: ${spread.last_error ?? ""}`),
  "shared cache": ({ cache: { shared } }) => shared && (shared.connected ? "connected" : "away"),
  cache: ({ cache }) => `${bytes(cache.bytes)} of ${bytes(cache.limit)}, ${count(cache.entries)} answers`,
};

const facts = Object.entries(FACTS).map(([name, text]) => ({ name, text, value: make("dd") }));
byId("facts").append(...facts.map(({ name, value }) => make("div", make("dt", name), value)));

export function showBar({ status }) {
  for (const { text, value } of facts) {
    write(value, text(status) ?? "");
    value.parentElement.hidden = !value.textContent;
  }
  showHealth(status);
}

/** Shows what a tab in the background must show, too. */
export function showHealth(status) {
  say(health(status));
}

/** Shows the state of the stream. A picture that is not live says nothing about now. */
export function showStream(state, why) {
  const isLost = state === "lost";
  const words = { connecting: "connecting…", live: "live", paused: "paused" };
  write(byId("live"), isLost ? `no connection: ${why}` : words[state]);
  byId("live").className = state;
  document.body.classList.toggle("stale", isLost);
  if (isLost) say({ level: "", text: "no connection" });
}

/** Tells what came of something, until there is something else to tell; "" is nothing. */
export function announce(text, level = "good") {
  const told = byId("told");
  told.hidden = !text;
  told.className = level;
  write(told, text);
}

function say({ level, text }) {
  byId("health").className = level;
  write(byId("health"), text);
  const title = level === "good" ? "httpipe" : `● ${text} – httpipe`;
  if (document.title !== title) document.title = title;
}

const { style } = document.documentElement;
style.colorScheme = localStorage.getItem("httpipe-theme") ?? "";

/** Light or dark: as the system says, until the button says otherwise. */
byId("theme").addEventListener("click", () => {
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  style.colorScheme = (style.colorScheme || system) === "dark" ? "light" : "dark";
  localStorage.setItem("httpipe-theme", style.colorScheme);
});
