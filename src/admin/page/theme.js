// Light or dark: as the system says, until the button says otherwise.

const NAME = "httpipe-theme";
const { style } = document.documentElement;

export function startTheme(button) {
  style.colorScheme = localStorage.getItem(NAME) ?? "";
  button.addEventListener("click", () => {
    const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    style.colorScheme = (style.colorScheme || system) === "dark" ? "light" : "dark";
    localStorage.setItem(NAME, style.colorScheme);
  });
}
