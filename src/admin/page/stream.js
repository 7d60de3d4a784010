// The stream of events, which is opened again when it ends, later each time it fails. `fetch`
// reads it, because `EventSource` can send no header.

import { headers } from "./key.js";

const FIRST_WAIT = 500;
const LONGEST_WAIT = 10_000;
/** The server says something each second, or it is gone. */
const SILENCE = 5_000;

/** Returns why a request was refused. */
export async function refusal(response) {
  const { detail } = await response.json().catch(() => ({}));
  return detail ?? `${response.status} ${response.statusText}`;
}

/**
 * Makes a stream that is to be opened. `take(name, data)` gets each event, and
 * `tell(state, why, status)` what becomes of the connection: `connecting`, `live` or `lost`.
 */
export function makeStream(path, take, tell) {
  let wait = FIRST_WAIT;
  let timer;
  let connection;

  /** Opens the stream, or opens it anew. */
  function open() {
    close();
    connection = new AbortController();
    run(connection);
  }

  function close() {
    clearTimeout(timer);
    connection?.abort();
    connection = null;
  }

  async function run(own) {
    tell("connecting");
    const { why, status } = await read(own);
    if (connection !== own) return;
    // Not all pages come back at once when a server does.
    timer = setTimeout(open, wait * (0.75 + Math.random() / 2));
    wait = Math.min(wait * 2, LONGEST_WAIT);
    tell("lost", why, status);
  }

  /** Reads until the stream ends. Returns why it did. */
  async function read(own) {
    let watch;
    const hear = () => {
      clearTimeout(watch);
      watch = setTimeout(() => own.abort(), SILENCE);
    };
    hear();
    try {
      const { signal } = own;
      const response = await fetch(path, { headers: headers(), cache: "no-store", signal });
      if (!response.ok) return { why: await refusal(response), status: response.status };
      await readEvents(response.body, (name, data) => {
        if (connection !== own) return;
        hear();
        wait = FIRST_WAIT;
        tell("live");
        // Later, because an error of the page is none of the connection.
        queueMicrotask(() => take(name, data));
      });
      return { why: "the server ended the stream" };
    } catch {
      return { why: own.signal.aborted ? "the server says nothing" : "the server is gone" };
    } finally {
      clearTimeout(watch);
    }
  }

  return { open, close };
}

async function readEvents(body, take) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const [, name, data] = event.match(/^event: (.*)\ndata: (.*)$/) ?? [];
      if (name) take(name, JSON.parse(data));
    }
  }
}
