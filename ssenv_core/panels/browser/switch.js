// Sounds of equal length in a loop, one at a time: a letter switches to its sound at the moment the other has come to, space stops.
function render({ model, el }) {
  const box = document.createElement("div");
  box.style.cssText = "display: flex; gap: 8px; align-items: center; flex-wrap: wrap; padding: 4px";
  box.tabIndex = 0;
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", "Compare by ear: the letters switch, space stops and starts");
  box.dataset.lmSuppressShortcuts = "true"; // or a and b would insert cells
  el.append(box);
  let context = null, buffers = {}, playing = null, chosen = null, began = 0, version = 0;

  function stop() {
    if (playing) playing.stop();
    playing = null;
    show();
  }

  async function play(key) {
    const now = version;
    context ??= new AudioContext();
    await context.resume();
    const sound = model.get("sounds").find((one) => one.key === key);
    buffers[key] ??= await context.decodeAudioData(await (await fetch(sound.url)).arrayBuffer());
    if (now !== version) return;
    const position = playing ? (context.currentTime - began) % buffers[key].duration : 0;
    if (playing) playing.stop();
    playing = new AudioBufferSourceNode(context, { buffer: buffers[key], loop: true });
    playing.connect(context.destination);
    playing.start(0, position);
    began = context.currentTime - position;
    chosen = key;
    show();
  }

  function show() {
    for (const button of box.querySelectorAll("button[data-key]")) {
      const on = playing !== null && button.dataset.key === chosen;
      button.setAttribute("aria-pressed", on);
      button.style.background = on ? "#2B5FA6" : "";
      button.style.color = on ? "#fff" : "";
    }
  }

  function build() {
    version += 1;
    stop();
    buffers = {};
    chosen = null;
    const buttons = model.get("sounds").map(({ key, name }) => {
      const button = Object.assign(document.createElement("button"), { className: "jupyter-button", textContent: name });
      button.dataset.key = key;
      button.style.cssText = "width: auto; padding: 0 10px";
      button.addEventListener("click", () => {
        box.focus(); // or space would press the button again
        play(key);
      });
      return button;
    });
    const end = Object.assign(document.createElement("button"), { className: "jupyter-button", textContent: "Stop" });
    end.addEventListener("click", stop);
    box.replaceChildren(...buttons, ...(buttons.length ? [end] : []));
    show();
  }

  box.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.toLowerCase();
    if (key === " " && event.target === box && model.get("sounds").length) playing ? stop() : play(chosen ?? model.get("sounds")[0].key);
    else if (model.get("sounds").some((one) => one.key === key)) play(key);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  model.on("change:sounds", build);
  build();
  return () => {
    stop();
    if (context) context.close();
  };
}

export default { render };
