"use strict";
// What is chosen on the page, and who is told when it changes. Text from data is only ever set as text.
const $ = (id) => document.getElementById(id);
const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
// For the text of plots alone, in which the library knows a few tags and these three entities.
const escaped = (text) => String(text).replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]);

const state = { sessions: null, words: "", session: "", run: "" };
const listeners = { filter: [], session: [], run: [], theme: [] };
const on = (what, act) => listeners[what].push(act);
const tell = (what) => listeners[what].forEach((act) => act());

function element(name, { text, title, ...attributes } = {}, children = []) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (title) made.title = title;
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function trouble(text) {
  const box = $("trouble");
  box.hidden = false;
  box.append(element("p", { text }));
}

async function unpacked(node) {
  const bytes = Uint8Array.from(atob(node.textContent.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

const kept = new Map();
function dataOf(kind, key) {
  const name = `${kind} ${key}`;
  if (!kept.has(name)) {
    const node = all(`script.${kind}-data`).find((each) => each.dataset.key === key);
    kept.set(name, node ? unpacked(node).then(JSON.parse) : Promise.resolve(null));
  }
  return kept.get(name);
}

function filterBy(sessions, words) {
  state.sessions = sessions;
  state.words = words;
  const bar = $("filtered");
  bar.hidden = sessions === null;
  bar.querySelector("span").textContent = words;
  tell("filter");
}

const isShown = (session) => state.sessions === null || state.sessions.has(session);

function chooseSession(key) {
  state.session = key;
  tell("session");
}

function chooseRun(name) {
  state.run = name;
  tell("run");
}

const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
const isDark = () => {
  const said = document.documentElement.dataset.theme;
  return said ? said === "dark" : prefersDark.matches;
};

function startTheme() {
  const button = $("theme");
  const show = () => {
    button.setAttribute("aria-pressed", String(isDark()));
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", isDark() ? "Use light colours" : "Use dark colours");
    button.removeAttribute("aria-pressed");
    tell("theme");
  };
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    show();
  });
  prefersDark.addEventListener("change", show);
  show();
}

function startCopying() {
  for (const button of all("button.copy")) {
    const said = button.textContent;
    button.addEventListener("click", async () => {
      const from = button.dataset.of ? $(button.dataset.of) : button.previousElementSibling;
      const done = await copied(button.dataset.of ? from.innerText : from.textContent);
      button.textContent = done ? "Copied" : "Select it and copy by hand";
      setTimeout(() => (button.textContent = said), 2000);
    });
  }
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // A page that was opened as a file may not have the clipboard; the older way needs a field.
    const field = element("textarea", { "aria-hidden": "true" });
    field.value = text;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}
