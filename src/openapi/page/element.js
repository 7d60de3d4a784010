// Makes elements. Texts become text nodes, never markup.

export function element(name, properties, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null) {
      continue;
    }
    if (key.includes("-") || key === "for") {
      made.setAttribute(key, value);
    } else {
      made[key] = value;
    }
  }
  made.append(...children.filter((child) => child !== undefined && child !== null));
  return made;
}
