// Sends a request and shows what comes, as it comes.

import { element } from "./element.js";

// More would only make the page slow.
const SHOWN_MOST = 200000;

// Shows the answer in `place`. Returns the name of the parameter that was wrong, if one was.
export async function show(place, address, options) {
  const began = performance.now();
  const about = element("div", { className: "about" }, "asked …");
  const body = element("pre", { tabIndex: 0, "aria-label": "The body of the answer" });
  place.replaceChildren(about, body);
  place.hidden = false;
  try {
    const answer = await fetch(address, options);
    about.replaceChildren(...facts(answer, performance.now() - began));
    const kind = answer.headers.get("content-type") ?? "";
    if (!/^(text\/|image\/svg)|json|xml|javascript|charset/.test(kind)) {
      await showFile(body, answer, kind);
      return undefined;
    }
    const text = await readText(answer, body);
    about.replaceChildren(...facts(answer, performance.now() - began));
    return finish(body, answer, text, kind);
  } catch (error) {
    const stopped = options.signal?.aborted;
    about.append(element("b", { className: "bad" }, stopped ? "stopped" : String(error.message)));
    return undefined;
  }
}

function facts(answer, took) {
  const shown = [
    element("b", { className: answer.ok ? "good" : "bad" }, `${answer.status} ${answer.statusText}`),
    element("span", {}, `${took.toFixed(1)} ms`),
  ];
  for (const name of ["server-timing", "cache-status", "httpipe-failure", "retry-after", "x-request-id"]) {
    const value = answer.headers.get(name);
    if (value) {
      shown.push(element("span", {}, `${name}: ${value}`));
    }
  }
  return shown;
}

// Shows each piece when it comes: an answer in parts may take long, or never end.
async function readText(answer, body) {
  const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true };
    if (done) {
      return text;
    }
    text += value;
    if (body.textContent.length < SHOWN_MOST) {
      body.append(value.slice(0, SHOWN_MOST - body.textContent.length));
    }
  }
}

function finish(body, answer, text, kind) {
  let document;
  if (/^application\/(problem\+)?json/.test(kind) && text.length < SHOWN_MOST) {
    try {
      document = JSON.parse(text);
    } catch {
      // It is shown as it came.
    }
  }
  if (text === "") {
    body.replaceChildren(element("i", {}, "no body"));
  } else if (!answer.ok && typeof document?.detail === "string") {
    body.textContent = document.detail;
    return document.parameter;
  } else if (document !== undefined && !/\d{16}|\d[eE]/.test(text)) {
    // Long numbers lose digits on the way, so a text that has some stays as it came.
    body.textContent = JSON.stringify(document, null, 2);
  }
  if (text.length > SHOWN_MOST) {
    body.append("\n", element("i", {}, `… ${text.length} characters in all`));
  }
  return undefined;
}

async function showFile(body, answer, kind) {
  const file = await answer.blob();
  const link = element("a", { href: URL.createObjectURL(file), download: "answer" }, "save it");
  body.append(`${file.size} bytes of ${kind || "no type"}: `, link);
}
