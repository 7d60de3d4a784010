// What needs attention: each a sentence, its remedy, and a button.

import { forgive, showTap } from "./actions.js";
import { button, byId, list, make, write } from "./dom.js";

const keyOf = ({ code, pool, worker }) => [code, pool, worker].join("\n");
const showAll = list(byId("notices"), keyOf, noticeView);

export function showNotices({ status }) {
  showAll(status.notices);
}

function noticeView({ level, code, pool, worker }) {
  const text = make("span");
  const fix = make("code");
  const said = make("p", make("b", pool ?? "server"), " ", text);
  const buttons = [];
  if (code === "poisonous") buttons.push(button("", "Forgive", "Forgive refused questions", forgive));
  else if (worker !== null) {
    buttons.push(button("", "Tap", `Tap worker ${worker}`, () => showTap(pool, worker)));
  }
  return {
    element: make(`li.${level}`, make("div", said, fix), ...buttons),
    show(notice) {
      write(text, notice.text);
      write(fix, notice.fix ?? "");
    },
  };
}
