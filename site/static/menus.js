// The menus at the top of a page: a button that shows the list behind it. Nothing else of Bootstrap is needed here.
for (const button of document.querySelectorAll("[data-bs-toggle=dropdown]")) {
  const menu = button.nextElementSibling;
  const show = (open) => {
    menu.classList.toggle("show", open);
    button.setAttribute("aria-expanded", String(open));
  };
  button.addEventListener("click", () => show(!menu.classList.contains("show")));
  document.addEventListener("click", (event) => button.parentElement.contains(event.target) || show(false));
  button.parentElement.addEventListener("focusout", (event) => {
    if (event.relatedTarget && !button.parentElement.contains(event.relatedTarget)) show(false);
  });
  button.parentElement.addEventListener("keydown", (event) => {
    const entries = [...menu.querySelectorAll("a, button")];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") {
      show(false);
      button.focus();
    } else if (step) {
      event.preventDefault();
      show(true);
      const next = entries.indexOf(document.activeElement) + step;
      entries[Math.max(0, Math.min(next, entries.length - 1))].focus();
    }
  });
}

// Paper is light.
let onScreen;
addEventListener("beforeprint", () => {
  onScreen = document.documentElement.dataset.theme;
  document.documentElement.dataset.theme = "light";
});
addEventListener("afterprint", () => {
  document.documentElement.dataset.theme = onScreen;
});
