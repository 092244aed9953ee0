// A slider with its name and its value beside it. The handle of ipywidgets' own has no name that a screen reader could say.
function render({ model, el }) {
  const label = document.createElement("label");
  label.style.cssText = "display: flex; align-items: center; gap: 6px; margin: 2px; font-size: var(--jp-widgets-font-size, 13px); " +
    "color: var(--jp-widgets-color, inherit)";
  label.style.width = model.get("width");
  const name = document.createElement("span");
  name.style.cssText = "flex: none; text-align: right";
  name.style.width = model.get("name_width");
  const slider = Object.assign(document.createElement("input"), { type: "range" });
  slider.style.cssText = "flex: 1; min-width: 0";
  const number = document.createElement("output");
  number.style.cssText = "flex: none; width: 3.5em";
  label.dataset.lmSuppressShortcuts = "true";
  label.addEventListener("keydown", (event) => event.stopPropagation()); // or the notebook would take the arrow keys
  label.append(name, slider, number);
  el.append(label);

  function draw() {
    for (const bound of ["min", "max", "step"]) slider[bound] = model.get(bound);
    slider.value = model.get("value");
    slider.setAttribute("aria-label", model.get("description"));
    name.textContent = model.get("description");
    const decimals = (String(model.get("step")).split(".")[1] ?? "").length;
    number.textContent = model.get("value").toFixed(decimals);
  }

  slider.addEventListener("input", () => {
    model.set("value", Number(slider.value));
    model.save_changes();
    draw();
  });
  model.on("change", draw);
  draw();
}

export default { render };
