// Keys that stand for a button, but not while somebody types.

/** Calls `press` with each key. */
export function startKeyboard(press) {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest?.("input, dialog")) return;
    press(event.key);
  });
}
