// The listening test of config.json: plays what blind files hold, keeps what listeners answer, and hands it over as CSV.
// Nothing here knows which sound is which.
"use strict";

const FADE = 0.005; // s, so that a switch does not click
const PAUSE = 0.5; // s between the sounds of a set
const START = 50; // where a slider stands before it is used

const at = (id) => document.getElementById(id);
const element = (tag, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};

let config, listener, pages, place, opened, context;
let rows = []; // of ratings, in the order of config.columns
let stored = true; // the browser keeps them, too
let shown = []; // what can be played on this page: {letter, name, files, buffers, node, button, sliders, played}
let current = null; // what plays, or played last
let playing = null; // {gain, started, length, last}

// The same order as listener_order in design.py.
function hash32(text) {
  let value = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) value = Math.imul(value ^ byte, 0x01000193) >>> 0;
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b) >>> 0;
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35) >>> 0;
  return (value ^ (value >>> 16)) >>> 0;
}

function listenerOrder(items) {
  const key = (item) => hash32(`${config.seed}/${listener}/${item.name}`);
  return [...items].sort((a, b) => key(a) - key(b) || (a.name < b.name ? -1 : 1));
}

function say(text) {
  at("status").textContent = text;
}

// Sound

async function buffersOf(files) {
  return Promise.all(files.map(async (file) => {
    const answer = await fetch(file);
    if (!answer.ok) throw new Error(`${file}: ${answer.status}`);
    return context.decodeAudioData(await answer.arrayBuffer());
  }));
}

function stop() {
  if (!playing) return;
  playing.gain.gain.setTargetAtTime(0, context.currentTime, FADE);
  playing.sources.forEach((source) => { source.onended = null; source.stop(context.currentTime + 10 * FADE); });
  playing = null;
  current.node.classList.remove("playing");
  label(current, "Play");
}

// One sound of a page with a reference loops, and the next goes on where it was: switching is how small differences are heard.
function play(item) {
  const synchronous = Boolean(pages[place].reference);
  const offset = synchronous && playing ? (context.currentTime - playing.started) % playing.length : 0;
  stop();
  const gain = new GainNode(context, { gain: 0 });
  gain.connect(context.destination);
  gain.gain.setTargetAtTime(1, context.currentTime, FADE);
  let when = context.currentTime;
  const sources = item.buffers.map((buffer) => {
    const source = new AudioBufferSourceNode(context, { buffer, loop: synchronous });
    source.connect(gain);
    source.start(when, offset);
    when += buffer.duration + PAUSE;
    return source;
  });
  sources.at(-1).onended = stop;
  [current, playing] = [item, { gain, sources, started: context.currentTime - offset, length: item.buffers[0].duration }];
  item.played = true;
  item.node.classList.add("playing");
  label(item, "Stop");
}

function toggle(item) {
  if (playing && current === item) stop();
  else play(item);
}

function label(item, verb) {
  item.button.textContent = `${verb} ${item.letter === "R" ? "reference" : item.letter}`;
}

// Pages

function slider(item, scale) {
  const id = `${scale}-${item.letter}`;
  const input = element("input", { type: "range", id, min: 0, max: 100, value: START });
  const score = element("span", { className: "score", textContent: "not rated" });
  input.setAttribute("aria-valuetext", "not rated");
  const words = element("div", { className: "words" }, ...config.words[scale].map((word) => element("span", { textContent: word })));
  for (const seen of [score, words]) seen.setAttribute("aria-hidden", "true"); // the slider says both itself
  const node = element("div", { className: "scale unrated" }, element("label", { htmlFor: id, textContent: `${scale} of ${item.letter}` }), input, score, words);
  const made = { scale, input, rated: false };
  const rate = () => {
    const word = config.words[scale][Math.min(4, Math.floor(input.value / 20))];
    made.rated = true;
    node.classList.remove("unrated");
    score.textContent = `${input.value}, ${word}`;
    input.setAttribute("aria-valuetext", score.textContent);
    say("");
  };
  input.addEventListener("input", rate);
  input.addEventListener("click", rate); // on the very place where it stood
  input.addEventListener("keydown", (event) => { if (event.key === "Enter") rate(); }); // to leave it there
  return [made, node];
}

function row(letter, name, files, scales) {
  const item = { letter, name, files, played: false };
  item.button = element("button", { type: "button", className: "play" });
  item.button.addEventListener("click", () => toggle(item));
  const made = scales.map((scale) => slider(item, scale));
  item.sliders = made.map(([one]) => one);
  item.node = element("div", { className: "row" }, item.button, ...made.map(([, node]) => node));
  item.node.style.setProperty("--scales", Math.max(1, scales.length));
  label(item, "Play");
  return item;
}

async function open(number) {
  stop();
  current = null;
  place = number;
  const page = pages[place];
  const counted = pages.length - 1;
  at("place").textContent = place ? `Page ${place} of ${counted}` : "Practice";
  Object.assign(at("bar"), { max: counted, value: Math.max(0, place - 1) });
  at("title").textContent = place ? `Page ${place}` : "Practice page";
  at("question").textContent = page.question;
  shown = page.reference ? [row("R", null, page.reference, [])] : [];
  shown.push(...listenerOrder(page.stimuli).map((stimulus, i) => row(config.letters[i], stimulus.name, stimulus.files, config.scales[page.test])));
  at("sounds").replaceChildren();
  for (const id of ["sounds", "next"]) at(id).hidden = true; // letters play nothing until it is there
  say("Loading the sounds …");
  await Promise.all(shown.map(async (item) => { item.buffers = await buffersOf(item.files); }));
  at("sounds").replaceChildren(...shown.map((item) => item.node));
  for (const id of ["sounds", "progress", "next"]) at(id).hidden = false;
  say("");
  at("title").focus();
  opened = performance.now();
}

function next() {
  const left = shown.filter((item) => item.name && !(item.played && item.sliders.every((one) => one.rated)));
  if (left.length) {
    say(`Play and rate every sound first. Still to do: ${left.map((item) => item.letter).join(", ")}.`);
    (left[0].played ? left[0].sliders.find((one) => !one.rated).input : left[0].button).focus();
    return;
  }
  if (place) keep();
  if (place + 1 < pages.length) open(place + 1).catch(fail);
  else finish();
}

function keep() {
  const [seconds, time, page] = [((performance.now() - opened) / 1000).toFixed(1), new Date().toISOString(), pages[place]];
  for (const item of shown.filter((one) => one.name)) {
    for (const one of item.sliders) {
      rows.push([listener, page.test, config.version, page.name, place, item.name, one.scale, one.input.value, seconds, time]);
    }
  }
  try {
    localStorage.setItem(storage(), JSON.stringify(rows));
  } catch {
    stored = false;
    at("warning").textContent = "This browser keeps nothing: do not close this page before the end.";
  }
}

const storage = () => `listening-${config.version}-${listener}`;

function finish() {
  stop();
  for (const id of ["sounds", "next", "progress"]) at(id).hidden = true;
  at("title").textContent = "Thank you";
  at("question").textContent = "Your ratings are in the file that is being saved now. Please send it to whoever asked you to listen.";
  at("warning").textContent = "";
  offer();
  at("title").focus();
  at("save").click();
}

// The ratings so far, as a file to save.
function offer() {
  const text = [config.columns, ...rows].map((values) => values.join(",") + "\n").join("");
  const link = at("save");
  Object.assign(link, { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: `ratings-${config.version}-${listener}.csv`, hidden: false });
}

function begin(event) {
  event.preventDefault();
  listener = at("listener").value;
  context = new AudioContext();
  try {
    rows = JSON.parse(localStorage.getItem(storage())) ?? [];
  } catch {
    rows = [];
  }
  at("welcome").hidden = true;
  const order = Object.keys(config.scales);
  pages = [config.training, ...listenerOrder(config.pages).sort((a, b) => order.indexOf(a.test) - order.indexOf(b.test))];
  const done = new Set(rows.map((values) => values[config.columns.indexOf("page")]));
  const first = pages.findIndex((page, i) => i && !done.has(page.name));
  if (first < 0) finish();
  else open(done.size ? first : 0).catch(fail);
}

function fail(error) {
  const done = stored ? "Reload the page to try again: what you rated is kept." : "Save what you rated below, as this browser does not keep it.";
  say(`The test cannot go on: ${error.message}. It needs to be opened from a web server, with all its files.${rows.length ? ` ${done}` : ""}`);
  if (!stored) offer();
}

document.addEventListener("keydown", (event) => {
  const busy = event.ctrlKey || event.metaKey || event.altKey || event.repeat || !at("shortcuts").checked || at("sounds").hidden;
  if (busy) return;
  if (event.key === " " && event.target.tagName !== "BUTTON") {
    event.preventDefault();
    if (current) toggle(current);
    return;
  }
  const item = shown.find((one) => one.letter === event.key.toUpperCase());
  if (!item) return;
  play(item);
  (item.sliders[0]?.input ?? item.button).focus();
});

at("welcome").addEventListener("submit", begin);
at("next").addEventListener("click", next);
fetch("config.json").then((answer) => answer.json()).then((read) => {
  config = read;
  at("listener").pattern = config.listener;
  at("listener").title = "Letters, digits, dots, hyphens and underscores";
  at("welcome").hidden = false;
}).catch(fail);
