// The operator's key, a Bearer token. It is in the fragment of the address that `httpipe open`
// makes, `/#key=…`, or is typed; it stays in this tab and ends with it.

const NAME = "httpipe-key";
const listeners = [];

/** Takes the key out of the address, because it must not stay in the history. */
export function takeFromAddress() {
  const key = new URLSearchParams(location.hash.slice(1)).get("key");
  if (key === null) return;
  history.replaceState(null, "", location.pathname + location.search);
  keep(key);
}

export function hasKey() {
  return sessionStorage.getItem(NAME) !== null;
}

export function keep(key) {
  if (key.trim()) sessionStorage.setItem(NAME, key.trim());
  else sessionStorage.removeItem(NAME);
  for (const listener of listeners) listener();
}

export function onKey(listener) {
  listeners.push(listener);
}

/** The headers of a request: a mark that no other site can send, and the key. */
export function headers() {
  const key = sessionStorage.getItem(NAME);
  const own = { "httpipe-admin": "1" };
  return key === null ? own : { ...own, authorization: `Bearer ${key}` };
}

addEventListener("hashchange", takeFromAddress);
