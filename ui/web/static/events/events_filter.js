// The filter form, which builds the API's query string, and the export menu.
import { get, base, button, node, ApiError, saveAs } from "../api.js";

export class EventFilter {
  /** `onChange` is called when the filter changes. */
  constructor(onChange) {
    this.camera = node("select", {}, node("option", { value: "" }, "all"));
    this.labels = node("datalist", { id: "aw-event-labels" });
    this.label = node("input", { list: "aw-event-labels", placeholder: "all", maxlength: 300 });
    this.since = node("input", { type: "datetime-local" });
    this.until = node("input", { type: "datetime-local" });
    this.minPeak = node("input", { type: "number", min: 0, max: 100, step: 1, placeholder: "0" });
    this.reviewed = node(
      "select",
      {},
      node("option", { value: "" }, "all"),
      node("option", { value: "false" }, "unreviewed"),
      node("option", { value: "true" }, "reviewed"),
    );
    this.hasMedia = node("input", { type: "checkbox" });
    this.formats = node("ul");
    this.status = node("span", { class: "aw-subdued", role: "status" });
    this.error = node("span", { class: "aw-error", role: "alert" });
    this.node = this.#form(onChange);
  }

  /** Load the available cameras, labels and formats. */
  async load() {
    if (!this.formats.hasChildNodes()) this.#showFormats(await get("api/events/formats"));
    const { cameras, labels } = await get("api/events/choices");
    const selected = this.camera.value;
    const options = cameras.map((name) => node("option", { value: name }, name));
    this.camera.replaceChildren(node("option", { value: "" }, "all"), ...options);
    this.camera.value = cameras.includes(selected) ? selected : "";
    this.labels.replaceChildren(...labels.map((label) => node("option", { value: label })));
  }

  /** The query of the API, as URLSearchParams. */
  get query() {
    const query = new URLSearchParams();
    const put = (name, value) => value && query.set(name, value);
    put("camera", this.camera.value);
    put("label", this.label.value);
    put("since", utc(this.since.value));
    put("until", utc(this.until.value));
    const minPeak = Math.min(100, Math.max(0, Number(this.minPeak.value)));
    put("min_peak", minPeak ? String(minPeak / 100) : "");
    put("reviewed", this.reviewed.value);
    put("has_media", this.hasMedia.checked ? "true" : "");
    return query;
  }

  /** Whether a new event passes the filter. */
  matches(event) {
    const query = this.query;
    const passes = (name, test) => !query.has(name) || test(query.get(name));
    return (
      passes("camera", (name) => event.camera === name || event.camera.startsWith(`${name}/`)) &&
      passes("label", (label) => event.label === label || event.corrected === label) &&
      passes("since", (since) => Date.parse(event.start) >= Date.parse(since)) &&
      passes("until", (until) => Date.parse(event.start) < Date.parse(until)) &&
      passes("min_peak", (minPeak) => event.peak >= Number(minPeak)) &&
      passes("reviewed", (reviewed) => (reviewed === "true") === Boolean(event.verdict)) &&
      passes("has_media", () => Boolean(event.clip || event.snapshot))
    );
  }

  #form(onChange) {
    let timer;
    const debounced = () => {
      clearTimeout(timer);
      timer = setTimeout(onChange, 300);
    };
    const clear = node("button", { type: "reset", class: "aw-button" }, "Clear");
    const form = node(
      "form",
      {
        class: "aw-row",
        "aria-label": "Event filter",
        input: debounced,
        submit: (e) => e.preventDefault(),
      },
      field("Camera", this.camera),
      field("Label", this.label),
      field("From", this.since),
      field("Until", this.until),
      field("Min. peak, %", this.minPeak),
      field("Review", this.reviewed),
      node("label", { class: "aw-check" }, this.hasMedia, "with clip or snapshot"),
      clear,
      this.#menu(),
      this.labels,
      this.status,
      this.error,
    );
    form.addEventListener("reset", () => setTimeout(onChange)); // after the fields are cleared
    return collapsibleOnPhones(form);
  }

  #menu() {
    const menu = node("details", { class: "aw-menu" });
    menu.append(node("summary", { class: "aw-button" }, "Export"), this.formats);
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

  #showFormats(formats) {
    const item = ({ name, title }) => {
      const click = () => {
        this.formats.parentElement.open = false;
        this.#download(name, title);
      };
      return node("li", {}, button(title, click));
    };
    this.formats.replaceChildren(...formats.map(item));
  }

  async #download(format, title) {
    const query = this.query;
    query.set("format", format);
    this.error.textContent = "";
    this.status.textContent = `Exporting ${title} …`;
    try {
      saveAs(...(await download(`api/events/export?${query}`)));
    } catch (error) {
      this.error.textContent = `Export failed: ${error.message}`;
    }
    this.status.textContent = "";
  }
}

async function download(path) {
  const response = await fetch(new URL(path, base)).catch(() => {
    throw new ApiError(0, "no connection to Actionwatch");
  });
  if (!response.ok) {
    const body = await response.json().catch(() => ({}));
    throw new ApiError(response.status, String(body.detail ?? response.statusText));
  }
  const name = /filename="([^"]+)"/.exec(response.headers.get("content-disposition"))?.[1];
  return [await response.blob(), name ?? "actionwatch-events"];
}

/** On narrow screens the form is collapsed. */
function collapsibleOnPhones(form) {
  const wide = matchMedia("(min-width: 641px)");
  const details = node(
    "details",
    { class: "aw-filters" },
    node("summary", {}, "Filter and export"),
    form,
  );
  const toggle = () => (details.open = wide.matches);
  wide.addEventListener("change", toggle);
  toggle();
  return details;
}

const field = (name, control) => node("label", { class: "aw-field" }, name, control);

/** Local time -> UTC. */
function utc(local) {
  const date = new Date(local);
  return Number.isNaN(date.getTime()) ? "" : date.toISOString();
}
