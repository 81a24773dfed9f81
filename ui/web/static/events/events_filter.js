// Which events to show: a form whose answer is the query of the API, and the download of them.
import { ask, base, button, node, Problem, saveAs } from "../api.js";

const formats = [
  ["csv", "Spreadsheet (CSV)"],
  ["jsonl", "JSON Lines"],
  ["webvtt", "Subtitles (WebVTT)"],
  ["activitynet", "ActivityNet (JSON)"],
  ["elan", "ELAN"],
  ["parquet", "Parquet"],
];

export class EventFilter {
  /** `changed` is called when other events are meant. */
  constructor(changed) {
    this.camera = node("select", {}, node("option", { value: "" }, "all"));
    this.labels = node("datalist", { id: "aw-event-labels" });
    this.label = node("input", { list: "aw-event-labels", placeholder: "all", maxlength: 300 });
    this.since = node("input", { type: "datetime-local" });
    this.until = node("input", { type: "datetime-local" });
    this.score = node("input", { type: "number", min: 0, max: 100, step: 1, placeholder: "0" });
    this.reviewed = node(
      "select",
      {},
      node("option", { value: "" }, "all"),
      node("option", { value: "false" }, "not yet"),
      node("option", { value: "true" }, "reviewed"),
    );
    this.recorded = node("input", { type: "checkbox" });
    this.told = node("span", { class: "aw-quiet", role: "status" });
    this.problem = node("span", { class: "aw-problem", role: "alert" });
    this.node = this.#form(changed);
  }

  /** What can be asked for now. */
  async load() {
    const { cameras, labels } = await ask("GET", "api/events/choices");
    const chosen = this.camera.value;
    const options = cameras.map((name) => node("option", { value: name }, name));
    this.camera.replaceChildren(node("option", { value: "" }, "all"), ...options);
    this.camera.value = cameras.includes(chosen) ? chosen : "";
    this.labels.replaceChildren(...labels.map((label) => node("option", { value: label })));
  }

  /** For the API, as URLSearchParams. */
  get query() {
    const query = new URLSearchParams();
    const put = (name, value) => value && query.set(name, value);
    put("camera", this.camera.value);
    put("label", this.label.value);
    put("since", utc(this.since.value));
    put("until", utc(this.until.value));
    const score = Math.min(100, Math.max(0, Number(this.score.value)));
    put("score", score ? String(score / 100) : "");
    put("reviewed", this.reviewed.value);
    put("recorded", this.recorded.checked ? "true" : "");
    return query;
  }

  /** Whether a new event is one of those that are meant. */
  means(event) {
    const query = this.query;
    const is = (name, test) => !query.has(name) || test(query.get(name));
    return (
      is("camera", (name) => event.camera === name || event.camera.startsWith(`${name}/`)) &&
      is("label", (label) => event.label === label || event.corrected === label) &&
      is("since", (since) => Date.parse(event.start) >= Date.parse(since)) &&
      is("until", (until) => Date.parse(event.start) < Date.parse(until)) &&
      is("score", (score) => event.peak >= Number(score)) &&
      is("reviewed", (reviewed) => (reviewed === "true") === Boolean(event.verdict)) &&
      is("recorded", () => Boolean(event.clip || event.snapshot))
    );
  }

  #form(changed) {
    let timer;
    const soon = () => {
      clearTimeout(timer);
      timer = setTimeout(changed, 300);
    };
    const clear = node("button", { type: "reset", class: "aw-button" }, "Clear");
    const form = node(
      "form",
      {
        class: "aw-row",
        "aria-label": "Which events",
        input: soon,
        submit: (e) => e.preventDefault(),
      },
      field("Camera", this.camera),
      field("Label", this.label),
      field("From", this.since),
      field("Until", this.until),
      field("Peak at least, %", this.score),
      field("Reviewed", this.reviewed),
      node("label", { class: "aw-check" }, this.recorded, "with a clip or picture"),
      clear,
      this.#menu(),
      this.labels,
      this.told,
      this.problem,
    );
    form.addEventListener("reset", () => setTimeout(changed)); // when the fields are empty
    return foldedOnPhones(form);
  }

  #menu() {
    const menu = node("details", { class: "aw-menu" });
    const items = formats.map(([format, name]) => {
      const click = () => {
        menu.open = false;
        this.#download(format, name);
      };
      return node("li", {}, button(name, click));
    });
    menu.append(node("summary", { class: "aw-button" }, "Export"), node("ul", {}, ...items));
    menu.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !menu.open) return;
      menu.open = false;
      menu.firstElementChild.focus();
    });
    menu.addEventListener("focusout", (event) => {
      if (event.relatedTarget && !menu.contains(event.relatedTarget)) menu.open = false;
    });
    return menu;
  }

  async #download(format, name) {
    const query = this.query;
    query.set("format", format);
    this.problem.textContent = "";
    this.told.textContent = `Making ${name} …`;
    try {
      saveAs(...(await fetched(`api/events/export?${query}`)));
    } catch (error) {
      this.problem.textContent = `No export: ${error.message}`;
    }
    this.told.textContent = "";
  }
}

async function fetched(path) {
  const answer = await fetch(new URL(path, base)).catch(() => {
    throw new Problem(0, "no connection to Actionwatch");
  });
  if (!answer.ok) {
    const told = await answer.json().catch(() => ({}));
    throw new Problem(answer.status, String(told.detail ?? answer.statusText));
  }
  const name = /filename="([^"]+)"/.exec(answer.headers.get("content-disposition"))?.[1];
  return [await answer.blob(), name ?? "actionwatch-events"];
}

/** Where there is little room, one has to ask for the form. */
function foldedOnPhones(form) {
  const wide = matchMedia("(min-width: 641px)");
  const folded = node(
    "details",
    { class: "aw-filters" },
    node("summary", {}, "Filter and export"),
    form,
  );
  const fold = () => (folded.open = wide.matches);
  wide.addEventListener("change", fold);
  fold();
  return folded;
}

const field = (name, control) => node("label", { class: "aw-field" }, name, control);

/** What the viewer's clock shows -> UTC. */
function utc(local) {
  const date = new Date(local);
  return Number.isNaN(date.getTime()) ? "" : date.toISOString();
}
