// Elements are made once, and changed only where something has changed, so that focus, selection
// and scrolling live through every tick. No text is ever read as markup.
//
// A *view* is an element and a function that shows something in it: `{ element, show(item) }`.

export const byId = (id) => document.getElementById(id);

/** Makes an element: `make("td.num", { title: "x" }, "text", child)`. */
export function make(kind, ...children) {
  const [tag, ...classes] = kind.split(".");
  return fill(document.createElement(tag), { class: classes.join(" ") || null }, children);
}

export function draw(tag, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), {}, children);
}

/** An attribute that is a function is a listener; one that is null is none. */
function fill(element, attributes, children) {
  const isFirst = children[0]?.constructor === Object;
  Object.assign(attributes, isFirst ? children.shift() : {});
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Makes a button; `title` says in full what its one word does. */
export function button(kind, text, title, click) {
  return make(`button${kind}`, { type: "button", title, "aria-label": title, click }, text);
}

export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function set(element, name, value) {
  if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/** Makes the head of a table. The title of a column may be for `ears` only. */
export function tableHead(columns) {
  const cells = columns.map(({ title, kind, ears }) =>
    make(`th${kind}`, { scope: "col" }, ears ? make("span.unseen", ears) : title));
  return make("thead", make("tr", ...cells));
}

/** Returns a function that shows items as children, each a view that is made once for its key. */
export function list(parent, keyOf, makeView) {
  const views = new Map();
  const viewOf = (item) => {
    const key = keyOf(item);
    if (!views.has(key)) views.set(key, makeView(item));
    return views.get(key);
  };
  return (items) => {
    const focused = document.activeElement;
    const keys = new Set(items.map(keyOf));
    for (const [key, { element }] of views) {
      if (keys.has(key)) continue;
      element.remove();
      views.delete(key);
    }
    let place = parent.firstElementChild;
    for (const item of items) {
      const { element, show } = viewOf(item);
      show?.(item);
      if (element === place) place = place.nextElementSibling;
      else parent.insertBefore(element, place);
    }
    // An element that moves loses the focus.
    const isLost = focused !== document.activeElement && focused?.isConnected;
    if (isLost) focused.focus({ preventScroll: true });
  };
}
