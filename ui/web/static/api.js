// What all parts of the page share: the API, nodes that hold text only, times as the viewer reads
// them, and work that rests while nobody sees it.

export const base = new URL("../", import.meta.url);

/** What the server refused or could not do; `message` is one line for a person. */
export class Problem extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export async function ask(method, path, body, signal) {
  let answer;
  try {
    answer = await fetch(new URL(path, base), {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
    });
  } catch (error) {
    if (signal?.aborted) throw error; // a later question took its place
    throw new Problem(0, "no connection to Actionwatch");
  }
  if (answer.status === 401) logIn();
  const isJson = answer.headers.get("content-type")?.startsWith("application/json");
  const content = isJson ? await answer.json() : await answer.text();
  if (!answer.ok) throw new Problem(answer.status, told(content, answer));
  return content;
}

export const get = (path) => ask("GET", path);

function told(content, answer) {
  const detail = content?.detail;
  if (typeof detail === "string") return detail;
  if (Array.isArray(detail) && detail.length) return `${detail[0].loc?.at(-1)}: ${detail[0].msg}`;
  return `the server answered ${answer.status} ${answer.statusText}`;
}

export function logIn() {
  const next = location.pathname + location.hash;
  location.assign(new URL(`login?next=${encodeURIComponent(next)}`, base));
}

/** The address of a WebSocket of ours. */
export function socketAddress(path) {
  const address = new URL(path, base);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  return address;
}

let asked;

/** Who looks at the page: {name, may_change, login, model}. Asked for until it is known. */
export function me() {
  asked ??= get("api/me").catch((error) => {
    asked = undefined; // the next one who wants to know may have more luck
    throw error;
  });
  return asked;
}

/**
 * A new node. Attributes that are functions are listeners ({click: ...}), others are set as they
 * are; false, null and undefined leave one out. Children are nodes or text, never markup.
 */
export function node(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

/** A button; `more` are further attributes, its classes beside the usual one. */
export function button(text, click, { class: classes = "", ...more } = {}) {
  const all = `aw-button ${classes}`.trim();
  return node("button", { type: "button", class: all, ...more, click }, text);
}

/** Let the browser keep a blob as a file. */
export function saveAs(blob, name) {
  const address = URL.createObjectURL(blob);
  node("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000); // when it is surely written
}

/** Gradio styles what is in its Markdown as prose, down to each colour; ours is none. */
export function ownStyle(root) {
  for (let above; (above = root.closest(".prose"));) above.classList.remove("prose");
}

/** Do some work now and every so often, but only while `root` is on the page and seen. */
export function whileSeen(root, everyMs, work) {
  let busy = false;
  const turn = async () => {
    if (!root.isConnected) {
      clearInterval(timer);
      return;
    }
    if (busy || document.hidden || !root.checkVisibility()) return;
    busy = true;
    try {
      await work();
    } finally {
      busy = false;
    }
  };
  const timer = setInterval(turn, everyMs);
  new IntersectionObserver(
    (entries) => entries.some((one) => one.isIntersecting) && turn(),
  ).observe(root);
  return turn;
}

const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

/** A UTC time as the viewer's clock shows it, in a <time> that holds all of it. */
export function when(iso, { withDay = true } = {}) {
  const date = new Date(iso);
  const text = withDay ? `${day.format(date)}, ${clock.format(date)}` : clock.format(date);
  return node("time", { datetime: iso, title: whole.format(date) }, text);
}

/** 75 -> "1 min 15 s". */
export function lasting(seconds) {
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}

export const percent = (share) => `${Math.round(share * 100)} %`;

/** Open another tab of the page, perhaps at something: openTab("Events", "event=0123"). */
export function openTab(label, place = "") {
  if (place) location.hash = place;
  // Those that don't fit into the row are in a menu at its end.
  const tabs = [...document.querySelectorAll('[role="tab"], .overflow-dropdown button')];
  tabs.find((tab) => tab.textContent.trim() === label)?.click();
}

/** What follows "#name=" in the address, or "". */
export function placeOf(name) {
  return new URLSearchParams(location.hash.slice(1)).get(name) ?? "";
}
