// The page: sends photographs, shows their answers, and follows the queue and the pool. No library, no build step.
"use strict";

const $ = (id) => document.getElementById(id);
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** An element with properties and children; text never becomes markup. */
function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// ---- The token: in this tab only, and in a header, where no log and no history keeps it.

const TOKEN = "bellows-token";
const authorization = () => {
  const token = sessionStorage.getItem(TOKEN);
  return token ? { Authorization: `Bearer ${token}` } : {};
};
/** Those who wait for another token. */
let untilToken = [];

/** `focus` only where somebody has just done what needs one. */
function askForToken(focus) {
  $("token-box").open = true;
  if (focus) $("token").focus();
  return new Promise((resolve) => untilToken.push(resolve));
}

$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const token = $("token").value.trim();
  if (token) sessionStorage.setItem(TOKEN, token);
  else sessionStorage.removeItem(TOKEN);
  $("token").value = "";
  $("token-box").open = false;
  announce(token ? "The token is used from now on." : "The token is forgotten.");
  const waiting = untilToken;
  untilToken = [];
  for (const go of waiting) go();
});

// ---- What a screen reader hears: each answer while they are few, else how many.

let unsaid = [];

function announce(text) {
  unsaid.push(text);
  if (unsaid.length > 1) return;
  setTimeout(() => {
    const many = unsaid.length > 3;
    $("announcer").textContent = many ? `${unsaid.length} news. The last: ${unsaid.at(-1)}` : unsaid.join(" ");
    unsaid = [];
  }, 800);
}

// ---- Requests. A browser opens six connections to a server, and /live has one of them.

const AT_ONCE = 5;
/** So many wait on their connection, which is quickest. The others are asked for: all are to be in the queue at once,
 *  where the pool sees them. */
const HELD_AT_ONCE = 4;
let held = 0;
const MOST_SHOWN = 200;
let free = AT_ONCE;
const lined = [];

/** One request when there is a connection for it, its body read. */
async function ask(path, options) {
  if (free > 0) free -= 1;
  else await new Promise((resolve) => lined.push(resolve));
  try {
    const headers = { Accept: "application/json", ...authorization(), ...options.headers };
    const response = await fetch(path, { ...options, headers });
    return { response, body: await response.json().catch(() => null) };
  } finally {
    const next = lined.shift();
    if (next) next();
    else free += 1;
  }
}

const seconds = (response) => Math.min(600, Math.max(1, Number(response.headers.get("Retry-After")) || 5));

/** Sends an image; waits for its answer too, unless enough others do. */
async function upload(file) {
  const path = `/classify/${encodeURIComponent(file.name || "image")}`;
  if (held >= HELD_AT_ONCE) return ask(path, { method: "PUT", body: file, headers: { Prefer: "respond-async" } });
  held += 1;
  try {
    return await ask(path, { method: "PUT", body: file });
  } finally {
    held -= 1;
  }
}

/** The answer to one image, however long it takes. What happens meanwhile is said to `tell`. */
async function classify(file, tell) {
  let next = () => upload(file);
  for (;;) {
    const { response, body } = await next();
    if (response.status === 202) {
      // accepted: from here on the answer is asked for, and no image is sent twice
      const place = response.headers.get("Location");
      next = () => ask(place, {});
      tell("In the queue.");
    } else if (response.ok && body) {
      return body;
    } else if (response.status === 401) {
      const known = sessionStorage.getItem(TOKEN) !== null;
      tell(known ? "The token is not known here: enter another above." : "A token is needed: enter it above.");
      await askForToken(true);
      continue;
    } else if (response.status !== 429 && response.status !== 503) {
      throw new Error(body?.message || `The server answered ${response.status} ${response.statusText}.`);
    } else {
      tell(`${body?.message || "Not now"}. Asked again after ${seconds(response)} s.`);
    }
    await wait(seconds(response) * 1000);
  }
}

// ---- Cards, one an image.

let open = 0;
let sent = 0;
let failed = 0;

function showProgress() {
  const done = sent - open;
  const wrong = failed ? `, ${failed} of them without a label` : "";
  const images = sent === 1 ? "image" : "images";
  $("progress").textContent = sent ? `${done} of ${sent} ${images} answered${wrong}.` : "None yet.";
  $("clear").hidden = !sent || open > 0;
}

function thumbnail(file, name) {
  const image = element("img", { alt: `${name}, not answered yet`, src: URL.createObjectURL(file), decoding: "async" });
  // a browser draws no TIFF, the server reads it all the same
  image.addEventListener("error", () => {
    const blank = element("div", { className: "blank", textContent: "no preview" });
    blank.setAttribute("role", "img");
    blank.setAttribute("aria-label", image.alt);
    image.replaceWith(blank);
  });
  return image;
}

function drop(card) {
  const image = card.querySelector("img");
  if (image) URL.revokeObjectURL(image.src);
  card.remove();
}

const percent = (probability) => `${(probability * 100).toFixed(probability < 0.0995 ? 1 : 0)} %`;

function bars(predictions) {
  const list = element("ol", { className: "bars" });
  for (const { label, probability } of predictions.slice(0, 5)) {
    const bar = element("div", { className: "bar" });
    bar.style.width = `${probability * 100}%`;
    const track = element("div", { className: "track", ariaHidden: "true" }, bar);
    const name = element("span", { className: "label", textContent: label, title: label });
    list.append(element("li", {}, name, element("span", { textContent: percent(probability) }), track));
  }
  return list;
}

function describe(card, text) {
  const picture = card.querySelector("img, .blank");
  if (picture.alt === undefined) picture.setAttribute("aria-label", text);
  else picture.alt = text;
}

function add(file) {
  const name = file.name || "pasted image";
  const body = element("div", {}, element("h3", { textContent: name }));
  const card = element("li", { className: "answer" }, thumbnail(file, name), body);
  answer(file, name, card, body);
  return card;
}

async function answer(file, name, card, body) {
  const state = element("p", { textContent: "Sent." });
  body.append(state);
  showProgress();
  try {
    const result = await classify(file, (text) => { state.textContent = text; });
    const best = result.predictions[0];
    state.replaceWith(bars(result.predictions));
    describe(card, `${name}: ${best.label}, ${percent(best.probability)}`);
    announce(`${name}: ${best.label}, ${percent(best.probability)}.`);
    $("model").textContent = `${result.model.name}, ${result.model.engine}`;
  } catch (error) {
    failed += 1;
    const lost = error instanceof TypeError;
    state.className = "wrong";
    state.textContent = lost ? "The server cannot be reached." : error.message;
    describe(card, `${name}, no label`);
    announce(`${name}: ${state.textContent}`);
    if (lost) offerAgain(file, name, card, body, state);
  } finally {
    open -= 1;
    showProgress();
  }
}

function offerAgain(file, name, card, body, state) {
  const again = element("button", { type: "button", textContent: "Try again", ariaLabel: `Try ${name} again` });
  again.addEventListener("click", () => {
    again.remove();
    state.remove();
    failed -= 1;
    open += 1;
    answer(file, name, card, body);
  });
  body.append(again);
}

function take(files) {
  // what is no image by its name or type is sent too: the server judges by the bytes and says what it reads
  const some = [...files];
  sent += some.length;
  open += some.length;
  $("answers").prepend(...some.map(add));
  while ($("answers").childElementCount > MOST_SHOWN) drop($("answers").lastElementChild);
}

$("files").addEventListener("change", () => {
  take($("files").files);
  $("files").value = "";
});
$("upload").addEventListener("submit", (event) => event.preventDefault());
$("send").hidden = true;
$("clear").addEventListener("click", () => {
  [...$("answers").children].forEach(drop);
  sent = failed = 0;
  showProgress();
  $("files").focus();
});
document.addEventListener("paste", (event) => take(event.clipboardData.files));
document.addEventListener("dragover", (event) => {
  if (!event.dataTransfer.types.includes("Files")) return;
  event.preventDefault();
  document.body.classList.add("dragged");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dragged");
});
document.addEventListener("drop", (event) => {
  document.body.classList.remove("dragged");
  if (!event.dataTransfer.files.length) return;
  event.preventDefault();
  take(event.dataTransfer.files);
});

// ---- Charts: a point each second; half a minute wide at first, and up to two.

const SPANS = [30, 120];
let span = SPANS[0];
const [WIDTH, HEIGHT] = [300, 72];
const samples = [];

/** A path through `points` of [seconds ago, value]; closed down to `floor` where there is one. */
function path(points, scale, floor) {
  const at = ([ago, value]) => `${(WIDTH * (1 - ago / span)).toFixed(1)} ${(HEIGHT - 1 - value * scale).toFixed(1)}`;
  const line = `M${points.map(at).join("L")}`;
  return floor ? `${line}L${[...floor].reverse().map(at).join("L")}Z` : line;
}

/** Draws areas upon each other and lines over them; `series` are [class, value of a sample]. */
function draw(chart, areas, lines, least) {
  const now = samples.at(-1).time;
  const points = (value) => samples.map((sample) => [(now - sample.time) / 1000, value(sample)]);
  const sum = (sample) => areas.reduce((total, [, value]) => total + value(sample), 0);
  const most = Math.max(least, ...samples.map((s) => Math.max(sum(s), ...lines.map(([, value]) => value(s)))));
  const scale = (HEIGHT - 4) / most;
  let below = () => 0;
  const drawn = areas.map(([name, value]) => {
    const floor = below;
    below = (sample) => floor(sample) + value(sample);
    return [name, path(points(below), scale, points(floor))];
  });
  drawn.push(...lines.map(([name, value]) => [name, path(points(value), scale)]));
  chart.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  chart.setAttribute("preserveAspectRatio", "none");
  chart.replaceChildren(...drawn.map(([name, d]) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", "path");
    made.setAttribute("class", name);
    made.setAttribute("d", d);
    return made;
  }));
  return most;
}

const number = (value) => (value < 9.95 && value % 1 ? value.toFixed(1) : Math.round(value).toString());

function drawAll() {
  const past = (samples.at(-1).time - samples[0].time) / 1000;
  span = Math.min(SPANS[1], Math.max(SPANS[0], past));
  $("since").textContent = span < 120 ? `${Math.round(span)} seconds ago` : "2 minutes ago";
  const field = (name) => [name, (sample) => sample[name]];
  const queue = draw($("queue-chart"), ["working", "waiting", "delayed"].map(field), [], 4);
  const pool = draw($("pool-chart"), ["ready", "booting", "ending"].map(field), [field("wanted")], samples.at(-1).max);
  const rate = draw($("rate-chart"), [], ["accepted", "answered"].map(field), 1);
  $("queue-most").textContent = `up to ${number(queue)}`;
  $("pool-most").textContent = `up to ${number(pool)}`;
  $("rate-most").textContent = `up to ${number(rate)}`;
}

/** Images a second since the sample before; a server that has begun anew counts from 0. */
function rates(status, time) {
  const last = samples.at(-1);
  if (!last || status.accepted < last.totals[0]) return { accepted: 0, answered: 0 };
  const passed = Math.max(0.5, (time - last.time) / 1000);
  const rate = (total, before) => Math.max(0, total - before) / passed;
  return { accepted: rate(status.accepted, last.totals[0]), answered: rate(status.answered, last.totals[1]) };
}

const duration = (ms) => (ms >= 1000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms)} ms`);

function showStatus(status) {
  const time = performance.now();
  const queue = status.queue || { visible: 0, in_flight: 0, delayed: 0 };
  const sample = {
    time, waiting: queue.visible, working: queue.in_flight, delayed: queue.delayed, ...status.pool,
    wanted: status.wanted, max: Math.max(1, status.max_instances), ...rates(status, time),
    totals: [status.accepted, status.answered],
  };
  samples.push(sample);
  while (time - samples[0].time > SPANS[1] * 1000) samples.shift();
  const values = ["waiting", "working", "delayed", "ready", "booting", "ending", "wanted", "accepted", "answered"];
  for (const name of values) $(name).textContent = number(sample[name]);
  $("max").textContent = status.max_instances;
  $("service").textContent = duration(status.service_ms);
  if (status.model) $("model").textContent = `${status.model.name}, ${status.model.engine}`;
  say($("state"), stateOf(status));
  drawAll();
}

/** Changes text only where it is another one: a screen reader repeats what is set. */
function say(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

function stateOf(status) {
  const pool = [status.paused && "The pool is paused.", status.dry_run && "Dry run: the pool stays as it is."];
  return [status.not_ready ? `Not ready: ${status.not_ready}.` : "Ready.", ...pool].filter(Boolean).join(" ");
}

function showDecisions(decisions) {
  if (!decisions.length) return;
  $("decisions").replaceChildren(...decisions.map((decision) => {
    const at = new Date(decision.at);
    const texts = { textContent: at.toLocaleTimeString(), title: at.toLocaleString() };
    const time = element("time", { dateTime: decision.at, ...texts });
    const again = decision.repeats ? ` (${decision.repeats + 1} times)` : "";
    return element("li", {}, time, decision.words + again);
  }));
}

// ---- /live, read by fetch: an EventSource could not send the token.

const SHOW = { status: showStatus, decisions: showDecisions };
let listening = null;

/** Reads events until the server ends them. */
async function readEvents(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (text + value).split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const name = /^event: (.*)$/m.exec(block)?.[1];
      const data = /^data: (.*)$/m.exec(block)?.[1];
      if (data && SHOW[name]) SHOW[name](JSON.parse(data));
    }
  }
}

/** One connection to /live; after how many milliseconds the next is due. */
async function listen(signal) {
  const response = await fetch("/live", { headers: { Accept: "text/event-stream", ...authorization() }, signal });
  if (response.status === 401) {
    say($("live-state"), "The live view needs a token.");
    await askForToken(false);
    return 0;
  }
  if (!response.ok) {
    say($("live-state"), `No live view now (${response.status}).`);
    return seconds(response) * 1000;
  }
  say($("live-state"), "As it is, once a second.");
  await readEvents(response.body);
  return 1000;
}

async function follow() {
  const control = new AbortController();
  listening = control;
  let pause = 1000;
  while (!control.signal.aborted) {
    try {
      pause = await listen(control.signal);
    } catch (error) {
      if (control.signal.aborted) return;
      say($("live-state"), "The server cannot be reached. It is tried again.");
      say($("state"), "");
      pause = Math.min(pause * 2 || 1000, 30000);
    }
    await wait(pause);
  }
}

// a page that nobody sees takes nobody's place
document.addEventListener("visibilitychange", () => {
  listening?.abort();
  if (!document.hidden) follow();
});
$("address").textContent = `${location.origin}/`;
follow();
