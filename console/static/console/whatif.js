// Shows a slider's number while it is moved, and marks the link when it is to be copied. Without it the button says the same.
(() => {
  "use strict";
  const form = document.querySelector("form[data-whatif]");
  if (!form) return;
  form.addEventListener("input", ({ target }) => {
    const output = target.parentElement.querySelector("output");
    if (output) output.value = target.value;
  });
  const share = document.getElementById("share");
  share?.addEventListener("focus", () => share.select());
})();
