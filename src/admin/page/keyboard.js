// Keys that stand for a button: one letter or digit, and never while somebody types.

/** `keys` maps a key to what it does: `{ p: () => … }`. */
export function startKeyboard(keys) {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest?.("input, textarea, select, dialog")) return;
    keys[event.key]?.();
  });
}
