// Shared by all tabs: the API, DOM nodes that hold text only, times in the viewer's time zone, and
// polling that pauses while nobody sees it.

export const base = new URL("../", import.meta.url);

/** An error response of the server, or no response; `message` is one line to show. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export async function request(method, path, body, signal) {
  let response;
  try {
    response = await fetch(new URL(path, base), {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
    });
  } catch (error) {
    if (signal?.aborted) throw error; // replaced by a newer request
    throw new ApiError(0, "no connection to Actionwatch");
  }
  if (response.status === 401) logIn();
  const isJson = response.headers.get("content-type")?.startsWith("application/json");
  const content = isJson ? await response.json() : await response.text();
  if (!response.ok) throw new ApiError(response.status, errorText(content, response));
  return content;
}

export const get = (path) => request("GET", path);

function errorText(content, response) {
  const detail = content?.detail;
  if (typeof detail === "string") return detail;
  if (Array.isArray(detail) && detail.length) return `${detail[0].loc?.at(-1)}: ${detail[0].msg}`;
  return `the server responded with ${response.status} ${response.statusText}`;
}

export function logIn() {
  const next = location.pathname + location.hash;
  location.assign(new URL(`login?next=${encodeURIComponent(next)}`, base));
}

/** The URL of a WebSocket of this server. */
export function socketUrl(path) {
  const url = new URL(path, base);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url;
}

let user;

/** The current user: {name, may_change, login_required, model}. Requested until it succeeds. */
export function currentUser() {
  user ??= get("api/me").catch((error) => {
    user = undefined; // the next call retries
    throw error;
  });
  return user;
}

/**
 * A new node. Attributes that are functions become listeners ({click: ...}), others are set as they
 * are; false, null and undefined are omitted. Children are nodes or text, never markup.
 */
export function node(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(key, value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

/** A button; `more` are further attributes, including extra classes. */
export function button(text, click, { class: classes = "", ...more } = {}) {
  const all = `aw-button ${classes}`.trim();
  return node("button", { type: "button", class: all, ...more, click }, text);
}

/** Save a blob as a download. */
export function saveAs(blob, name) {
  const url = URL.createObjectURL(blob);
  node("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000); // long after it is written
}

/** Opt out of Gradio's prose styles, which apply to all content of its Markdown. */
export function ownStyle(root) {
  for (let above; (above = root.closest(".prose"));) above.classList.remove("prose");
}

/** Call `poll` now and every `intervalMs` while `root` is on the page and visible. */
export function pollWhileVisible(root, intervalMs, poll) {
  let busy = false;
  const tick = async () => {
    if (!root.isConnected) {
      clearInterval(timer);
      return;
    }
    if (busy || document.hidden || !root.checkVisibility()) return;
    busy = true;
    try {
      await poll();
    } finally {
      busy = false;
    }
  };
  const timer = setInterval(tick, intervalMs);
  new IntersectionObserver(
    (entries) => entries.some((entry) => entry.isIntersecting) && tick(),
  ).observe(root);
  return tick;
}

/** Delays before new attempts to connect: doubled each time, and random, to spread the pages. */
export class Backoff {
  #delayMs;

  constructor(minMs, maxMs) {
    Object.assign(this, { minMs, maxMs });
    this.reset();
  }

  reset() {
    this.#delayMs = this.minMs;
  }

  nextMs() {
    const delayMs = this.#delayMs * (0.75 + Math.random() / 2);
    this.#delayMs = Math.min(2 * this.#delayMs, this.maxMs);
    return delayMs;
  }
}

const dayFormat = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const timeFormat = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const fullFormat = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

/** A UTC time in the viewer's time zone, as a <time> element with the full time as tooltip. */
export function localTime(iso, { withDay = true } = {}) {
  const date = new Date(iso);
  const time = timeFormat.format(date);
  const text = withDay ? `${dayFormat.format(date)}, ${time}` : time;
  return node("time", { datetime: iso, title: fullFormat.format(date) }, text);
}

/** 75 -> "1 min 15 s". */
export function formatDuration(seconds) {
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}

export const percent = (ratio) => `${Math.round(ratio * 100)} %`;

/** Open another tab of the page, optionally at a location: openTab("Events", "event=0123"). */
export function openTab(label, hash = "") {
  if (hash) location.hash = hash;
  // Tabs that don't fit into the row are in a menu at its end.
  const tabs = [...document.querySelectorAll('[role="tab"], .overflow-dropdown button')];
  tabs.find((tab) => tab.textContent.trim() === label)?.click();
}

/** The value of `name` in the URL's hash, or "". */
export function hashValue(name) {
  return new URLSearchParams(location.hash.slice(1)).get(name) ?? "";
}
