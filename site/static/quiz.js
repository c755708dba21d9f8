// Quizzes: whoever chooses an answer is told at once, and the browser remembers it. Without this file the questions
// and the folded answers are there all the same.
const stored = {
  get(name) { try { return localStorage.getItem(name); } catch { return null; } },
  set(name, value) { try { localStorage.setItem(name, value); } catch { /* private window: not remembered */ } },
};
// The path keeps books of one site apart. The choice is kept by its words: another edition may have other letters.
const keyOf = (fieldset) => `${location.pathname}#${fieldset.id}`;

function tell(fieldset, chosen) {
  for (const button of fieldset.querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button === chosen));
  }
  fieldset.querySelector("p").textContent = chosen.dataset.says;
  fieldset.dataset.state = chosen.dataset.says === "Right." ? "right" : "wrong";
}

function score() {
  const count = (state) => document.querySelectorAll(`fieldset.quiz${state}`).length;
  const place = document.querySelector(".quiz-score");
  if (place && count("[data-state]")) {
    place.textContent = `${count("[data-state]")} of ${count("")} answered, ${count('[data-state="right"]')} right.`;
  }
}

for (const fieldset of document.querySelectorAll("fieldset.quiz")) {
  const buttons = [...fieldset.querySelectorAll("button")];
  for (const button of buttons) button.setAttribute("aria-pressed", "false");
  const before = buttons.find((button) => button.textContent === stored.get(keyOf(fieldset)));
  if (before) tell(fieldset, before);
  // Only now does it speak: what is remembered shall not be read out when the page opens.
  fieldset.querySelector("p").setAttribute("role", "status");
  fieldset.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    stored.set(keyOf(fieldset), button.textContent);
    tell(fieldset, button);
    score();
  });
}
score();
