// A slider for every comparison of the questionnaire, and what the judgements come to while they are made. The choices below the
// sliders are the form: without this they are filled in by themselves, and what they come to is told when they are kept.
(() => {
  "use strict";
  const form = document.querySelector("form.judge");
  if (!form) return;
  const PAUSE_MS = 250;
  let timer = 0, asking = null, changed = false;

  function slider(pair) {
    const choice = pair.querySelector("select");
    const steps = [...choice.options].filter((one) => /^(1\/)?[1-9]$/.test(one.value));
    const range = Object.assign(document.createElement("input"), { type: "range", min: 0, max: steps.length - 1, step: 1 });
    const said = document.createElement("output");
    const away = Object.assign(document.createElement("button"), { type: "button", className: "link", textContent: "leave out" });
    const place = document.createElement("div");
    place.className = "slide";
    range.id = choice.id + ".range";
    range.setAttribute("aria-describedby", choice.id + ".said");
    said.id = choice.id + ".said";
    away.setAttribute("aria-label", "leave out: " + pair.querySelector("label").textContent);
    pair.querySelector("label").htmlFor = range.id;

    function show() {
      const at = steps.findIndex((one) => one.value === choice.value);
      range.value = at < 0 ? (steps.length - 1) / 2 : at;
      said.textContent = choice.selectedOptions[0]?.textContent || "";
      range.setAttribute("aria-valuetext", said.textContent);
      place.classList.toggle("unset", !choice.value);
      away.hidden = !choice.value;
    }
    function put(value) {
      if (choice.value === value) return;
      choice.value = value;
      changed = true;
      show();
      soon();
    }
    const take = () => put(steps[range.valueAsNumber].value);
    range.addEventListener("input", take);
    range.addEventListener("pointerup", take); // the middle of a slider that was not touched yet is a judgement, too
    range.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); take(); }
      if (event.key === "Delete" || event.key === "Backspace") { event.preventDefault(); put(""); }
    });
    away.addEventListener("click", () => { put(""); range.focus(); });
    place.append(range, away, said);
    choice.hidden = true;
    choice.after(place);
    show();
  }

  function judgements() {
    return [...form.querySelectorAll(".pair")].map((pair) => ({
      one: pair.dataset.one, other: pair.dataset.other, value: pair.querySelector("select").value,
    })).filter((one) => one.value);
  }

  const percent = (value) => (100 * Number(value)).toFixed(1) + "%";

  function tell(told) {
    const place = form.querySelector(`fieldset[data-group="${CSS.escape(told.parent)}"]`);
    if (!place) return;
    const codes = Object.keys(told.names);
    const weights = codes.filter((code) => code in told.weights).map((code) => `${told.names[code]} ${percent(told.weights[code])}`);
    const known = told.ratio !== null && codes.length > 2;
    place.querySelector("[data-weights]").textContent = weights.join(", ");
    place.querySelector("[data-ratio]").textContent = known ? "Consistency ratio " + Number(told.ratio).toFixed(3) : "";
    place.querySelector("[data-words]").replaceChildren(...told.words.map((line) => {
      const item = document.createElement("li");
      item.textContent = line;
      return item;
    }));
  }

  async function look() {
    asking?.abort();
    const mine = asking = new AbortController();
    const said = judgements();
    form.querySelector("[data-judged]").textContent = said.length;
    try {
      const answer = await fetch(form.dataset.preview, {
        method: "POST", signal: mine.signal, body: JSON.stringify({ judgements: said }),
        headers: { "Content-Type": "application/json", Accept: "application/json",
          "X-CSRFToken": form.querySelector("[name=csrfmiddlewaretoken]").value },
      });
      if (answer.ok && mine === asking) for (const told of (await answer.json()).groups) tell(told);
    } catch (error) { /* what was kept is told again when the page is opened */ }
  }

  function soon() {
    clearTimeout(timer);
    timer = setTimeout(look, PAUSE_MS);
  }

  for (const pair of form.querySelectorAll(".pair")) slider(pair);
  form.addEventListener("submit", () => { changed = false; });
  addEventListener("beforeunload", (event) => { if (changed) event.preventDefault(); });
})();
