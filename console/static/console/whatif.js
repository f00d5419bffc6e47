// Asks again when a rating or a choice was changed, and goes on where one was. Without it the button does the same.
(() => {
  "use strict";
  const form = document.querySelector("form[data-whatif]");
  if (!form) return;
  const KEPT = "whatif-place", WAIT = 700; // milliseconds after the last change: a slider moves by keys, step by step
  let waiting = 0;

  form.addEventListener("input", ({ target }) => {
    const output = target.parentElement.querySelector("output");
    if (output) {
      output.value = target.value;
      form.elements.weights.value = "own";
    }
  });
  form.addEventListener("change", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => form.requestSubmit(), WAIT);
  });
  form.addEventListener("formdata", ({ formData }) => {
    for (const [name, value] of [...formData]) if (!value) formData.delete(name);
  });
  form.addEventListener("submit", () => {
    const place = { id: document.activeElement?.id, name: document.activeElement?.name, y: scrollY };
    try { sessionStorage.setItem(KEPT, JSON.stringify(place)); } catch { /* it goes without */ }
  });

  const share = document.getElementById("share");
  share?.addEventListener("focus", () => share.select());

  try {
    const place = JSON.parse(sessionStorage.getItem(KEPT));
    sessionStorage.removeItem(KEPT);
    if (place) {
      (document.getElementById(place.id) || form.elements[place.name])?.focus?.({ preventScroll: true });
      scrollTo(0, place.y);
    }
  } catch { /* it goes without */ }
})();
