// A curve of levels in dB over time, drawn by dragging over it; the arrow keys walk along it and change it.
const LOWEST = -80, WIDTH = 400, HEIGHT = 120, LEFT = 44, BOTTOM = 18;

function render({ model, el }) {
  const canvas = Object.assign(document.createElement("canvas"), { width: WIDTH, height: HEIGHT, tabIndex: 0 });
  canvas.style.cssText = "touch-action: none; cursor: crosshair; max-width: 100%";
  canvas.setAttribute("role", "slider");
  canvas.setAttribute("aria-label", "Loudness over time: left and right move along it, up and down change it");
  canvas.setAttribute("aria-valuemin", LOWEST);
  canvas.setAttribute("aria-valuemax", 0);
  canvas.dataset.lmSuppressShortcuts = "true";
  el.append(canvas);
  const pen = canvas.getContext("2d");
  let place = 0, last = null;

  const across = (i) => LEFT + ((i + 0.5) / model.get("levels").length) * (WIDTH - LEFT);
  const down = (level) => (level / LOWEST) * (HEIGHT - BOTTOM);
  const seconds = () => ((place + 0.5) / model.get("levels").length) * model.get("duration");

  function draw() {
    const levels = model.get("levels");
    pen.clearRect(0, 0, WIDTH, HEIGHT);
    pen.fillStyle = "#fff";
    pen.fillRect(LEFT, 0, WIDTH - LEFT, HEIGHT - BOTTOM);
    pen.fillStyle = "#2B5FA6";
    const width = (WIDTH - LEFT) / levels.length;
    levels.forEach((level, i) => pen.fillRect(across(i) - width / 2, down(level), width - 1, HEIGHT - BOTTOM - down(level)));
    if (document.activeElement === canvas) {
      pen.strokeStyle = "#C8860D";
      pen.lineWidth = 2;
      pen.strokeRect(across(place) - width / 2, 1, width - 1, HEIGHT - BOTTOM - 2);
    }
    pen.fillStyle = getComputedStyle(el).color;
    pen.font = "12px sans-serif";
    pen.textAlign = "right";
    pen.fillText("0 dB", LEFT - 4, 11);
    pen.fillText("-40", LEFT - 4, down(-40) + 4);
    pen.fillText("-80", LEFT - 4, down(LOWEST));
    pen.fillText(`${model.get("duration").toFixed(1)} s`, WIDTH, HEIGHT - 4);
    pen.textAlign = "left";
    pen.fillText("0", LEFT, HEIGHT - 4);
    canvas.setAttribute("aria-valuenow", Math.round(levels[place]));
    canvas.setAttribute("aria-valuetext", `${Math.round(levels[place])} dB at ${seconds().toFixed(2)} s`);
  }

  function write(from, to, level) {
    const levels = [...model.get("levels")];
    for (let i = Math.min(from, to); i <= Math.max(from, to); i++) levels[i] = level;
    model.set("levels", levels);
    draw();
  }

  function point(event) {
    const box = canvas.getBoundingClientRect(), count = model.get("levels").length;
    const x = ((event.clientX - box.left) / box.width) * WIDTH, y = ((event.clientY - box.top) / box.height) * HEIGHT;
    place = Math.max(0, Math.min(count - 1, Math.floor(((x - LEFT) / (WIDTH - LEFT)) * count)));
    write(last ?? place, place, Math.max(LOWEST, Math.min(0, Math.round((y / (HEIGHT - BOTTOM)) * LOWEST))));
    last = place;
  }

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    canvas.focus();
    point(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (last !== null) point(event);
  });
  canvas.addEventListener("pointerup", () => {
    last = null;
    model.save_changes();
  });
  canvas.addEventListener("keydown", (event) => {
    const count = model.get("levels").length, step = { ArrowUp: 3, ArrowDown: -3 }[event.key];
    if (event.key === "ArrowLeft") place = Math.max(0, place - 1);
    else if (event.key === "ArrowRight") place = Math.min(count - 1, place + 1);
    else if (step) {
      write(place, place, Math.max(LOWEST, Math.min(0, model.get("levels")[place] + step)));
      model.save_changes();
    } else return;
    event.preventDefault();
    event.stopPropagation();
    draw();
  });
  canvas.addEventListener("focus", draw);
  canvas.addEventListener("blur", draw);
  model.on("change:levels change:duration", draw);
  draw();
}

export default { render };
