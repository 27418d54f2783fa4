// Keeps the page fresh: whenever the farm says that it has changed, the same page is asked for again and its live part put
// in place of the old one. The server alone makes HTML; nothing here turns text into markup of its own.
"use strict";

const fresh = document.getElementById("fresh");
const PAUSE_MS = 500;
const POLL_MS = 5000;

let paused = false;
let wanted = false;
let busy = false;
let shown = "";

function live() {
  return document.getElementById("live");
}

function follows() {
  return live()?.hasAttribute("data-follow") ?? false;
}

function say(text) {
  if (fresh.firstChild?.data !== text) fresh.replaceChildren(text);
}

// What the reader has opened stays open, and focus stays where it was.
function put(next) {
  const old = live();
  for (const details of old.querySelectorAll("details[open][id]")) {
    const same = next.querySelector("#" + CSS.escape(details.id));
    if (same) same.open = true;
  }
  const all = (root) => [...root.querySelectorAll("a, button, summary, [tabindex]")];
  const focus = all(old).indexOf(document.activeElement);
  const scrolled = [...old.querySelectorAll("[tabindex]")].map((box) => [box.scrollLeft, box.scrollTop]);
  old.replaceWith(next);
  [...next.querySelectorAll("[tabindex]")].forEach((box, i) => {
    if (scrolled[i]) [box.scrollLeft, box.scrollTop] = scrolled[i];
  });
  if (focus >= 0) all(next)[focus]?.focus({ preventScroll: true });
  serveButtons();
}

async function refresh() {
  wanted = true;
  if (busy || paused || !follows()) return;
  busy = true;
  while (wanted && !paused && follows()) {
    wanted = false;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      if (answer.redirected) return location.assign(answer.url);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const next = page.getElementById("live");
      if (next && !paused && next.outerHTML !== shown) {
        shown = next.outerHTML;
        put(document.adoptNode(next));
      }
      say(follows() ? "Live" : "Complete");
    } catch {
      say("The farm does not answer; trying again");
    }
    await new Promise((done) => setTimeout(done, PAUSE_MS));
  }
  busy = false;
}

function serveButtons() {
  for (const button of document.querySelectorAll("button[data-post]")) {
    button.hidden = false;
    button.addEventListener("click", () => act(button));
  }
}

async function act(button) {
  if (!confirm(button.dataset.ask)) return;
  button.disabled = true;
  try {
    const answer = await fetch(button.dataset.post, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "{}",
    });
    const body = await answer.json();
    if (!answer.ok) say(body.message);
    else if (button.dataset.post.endsWith("/retry")) location.assign("/tasks/" + encodeURIComponent(body.id));
    else refresh();
  } catch {
    say("The farm does not answer");
  }
  button.disabled = false;
}

function pauseButton() {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Pause updates";
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", () => {
    paused = !paused;
    button.setAttribute("aria-pressed", String(paused));
    say(paused ? "Paused" : "Live");
    if (!paused) refresh();
  });
  document.querySelector("header").append(" ", button);
}

if (live()) serveButtons();
if (follows()) {
  pauseButton();
  fresh.hidden = false;
  say("Live");
  let connected = false;
  const events = new EventSource("/api/v1/events");
  events.addEventListener("open", () => (connected = true));
  events.addEventListener("error", () => (connected = false));
  events.addEventListener("changed", refresh);
  // Where events do not come through, looking now and then does as well.
  setInterval(() => {
    if (!connected) refresh();
  }, POLL_MS);
}
