// A picture of a sound with a time span on it: dragged over the picture, or written into two number fields.
function render({ model, el }) {
  const frame = document.createElement("div");
  frame.style.cssText = "position: relative; width: 320px; height: 96px; touch-action: none; cursor: col-resize; user-select: none";
  const picture = Object.assign(document.createElement("img"), { alt: `spectrogram of ${model.get("name")}`, draggable: false });
  picture.style.cssText = "width: 100%; height: 100%; display: block";
  const mark = document.createElement("div");
  mark.style.cssText = "position: absolute; top: 0; bottom: 0; background: rgba(255, 255, 255, 0.4); border: 2px solid #fff; " +
    "box-sizing: border-box; outline: 1px solid #000; pointer-events: none";
  frame.append(picture, mark);
  const fields = ["from", "to"].map((word, side) => {
    const label = document.createElement("label");
    const field = Object.assign(document.createElement("input"), { type: "number", min: 0, step: 0.1 });
    field.style.cssText = "width: 5em; margin: 4px 8px 0 4px";
    field.setAttribute("aria-label", `${word} (seconds), the part of ${model.get("name")} to make anew`);
    field.addEventListener("change", () => {
      const [from, to] = model.get("span"), written = Number(field.value);
      keep(side ? [Math.min(from, written), written] : [written, Math.max(to, written)]);
      write(field, side);
    });
    label.append(side ? "to" : "Part: from", field);
    return [label, field];
  });
  const row = document.createElement("div");
  row.dataset.lmSuppressShortcuts = "true";
  row.append(...fields.map(([label]) => label), "s");
  el.append(frame, row);
  let start = null;

  const clamp = (value) => Math.round(100 * Math.max(0, Math.min(model.get("duration"), value))) / 100;
  function keep(span) {
    model.set("span", span.map(clamp));
    model.save_changes();
  }
  function write(field, side) {
    field.value = model.get("span")[side].toFixed(2);
  }
  function seconds(event) {
    const box = frame.getBoundingClientRect();
    return ((event.clientX - box.left) / box.width) * model.get("duration");
  }
  function draw() {
    const [from, to] = model.get("span"), whole = model.get("duration");
    picture.src = model.get("picture");
    mark.style.display = to > from ? "block" : "none";
    mark.style.left = `${(100 * from) / whole}%`;
    mark.style.width = `${(100 * (to - from)) / whole}%`;
    fields.forEach(([, field], side) => {
      field.max = whole;
      if (!field.matches(":focus")) write(field, side); // or what is being written would be lost when the kernel answers
    });
  }

  frame.addEventListener("pointerdown", (event) => {
    frame.setPointerCapture(event.pointerId);
    start = seconds(event);
  });
  frame.addEventListener("pointermove", (event) => {
    if (start === null) return;
    model.set("span", [start, seconds(event)].map(clamp).sort((a, b) => a - b));
  });
  frame.addEventListener("pointerup", () => {
    start = null;
    model.save_changes();
  });
  model.on("change", draw);
  draw();
}

export default { render };
