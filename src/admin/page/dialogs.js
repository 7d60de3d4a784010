// The dialog: a question before something is done, a text to read, or the field for the key.
// Escape and Cancel are "no".

import { announce } from "./bar.js";
import { byId, write } from "./dom.js";
import { keep } from "./key.js";

const dialog = byId("dialog");
const field = byId("field");
let answer = () => {};
// A dialog that gave way to another one is open again when its end is told.
dialog.addEventListener("close", () => dialog.open || answer(dialog.returnValue === "yes"));
byId("no").addEventListener("click", () => dialog.close());

/** Opens the dialog. Returns true if its `verb` was pressed; without a verb it only tells. */
export function ask({ title, text, lines = "", verb = "", isDanger = false, hasField = false }) {
  answer(false);
  dialog.close();
  write(byId("dialog-title"), title);
  write(dialog.querySelector("p"), text);
  write(dialog.querySelector("pre"), lines);
  write(byId("yes"), verb);
  write(byId("no"), verb ? "Cancel" : "Close");
  dialog.querySelector("pre").hidden = !lines;
  field.parentElement.hidden = !hasField;
  byId("yes").hidden = !verb;
  byId("yes").className = isDanger ? "danger" : "";
  dialog.returnValue = "";
  dialog.showModal();
  (hasField ? field : byId("no")).focus();
  return new Promise((resolve) => (answer = resolve));
}

/** Asks for the key; `why` is what it is for. */
export async function askForKey(why) {
  field.value = "";
  const isGiven = await ask({
    title: "The operator's key",
    text: `${why} Open the page with it, as below, or paste it here. It stays in this tab.`,
    lines: `httpipe open ${location.origin}`,
    verb: "Use this key",
    hasField: true,
  });
  if (isGiven) {
    announce("");
    keep(field.value);
  }
  field.value = "";
}
