// <aw-events>: the events, newest first, to view, review and export.
import { button, get, node, openTab, ownStyle, hashValue, pollWhileVisible } from "../api.js";
import { EventDetail } from "./events_detail.js";
import { EventFilter } from "./events_filter.js";
import { subscribe } from "./events_live.js";
import { EventTable } from "./events_table.js";

const PAGE_SIZE = 50;
const number = new Intl.NumberFormat();

class Events extends HTMLElement {
  #offset = 0;
  #total = 0;
  #newIds = new Set(); // of new events that are not shown yet
  #loads = 0;

  connectedCallback() {
    ownStyle(this);
    this.filter = new EventFilter(() => this.#load(0));
    this.table = new EventTable((id) => this.#select(id));
    this.detail = new EventDetail({
      onClose: () => this.#onClose(),
      onChange: (event) => this.#update(event),
      onDelete: (id) => this.#onDelete(id),
      labelsId: this.filter.labels.id,
    });
    this.#layOut();
    this.followHash = () => hashValue("event") && this.#open(hashValue("event"));
    addEventListener("hashchange", this.followHash);
    this.unsubscribe = subscribe(
      this,
      (update) => this.#onUpdate(update),
      () => this.#newIds.add("missed"),
    );
    pollWhileVisible(this, 1000, () => this.#tick());
    this.filter.load().catch(() => {}); // the list shows the error
    this.#load(0);
    this.followHash();
  }

  disconnectedCallback() {
    this.unsubscribe();
    removeEventListener("hashchange", this.followHash);
  }

  #layOut() {
    this.newer = button("Newer", () => this.#load(this.#offset - PAGE_SIZE, { toTop: true }));
    this.older = button("Older", () => this.#load(this.#offset + PAGE_SIZE, { toTop: true }));
    this.range = node("span", { class: "aw-subdued", role: "status" });
    this.error = node("p", { class: "aw-error", role: "alert" });
    this.showNew = button("", () => this.#load(0, { toTop: true }));
    this.showNew.classList.add("aw-primary");
    this.newEvents = node("div", { class: "aw-new-events", "aria-live": "polite" });
    this.empty = node("p", { class: "aw-subdued", hidden: true });
    const list = node(
      "div",
      { class: "aw-list" },
      this.newEvents,
      this.error,
      this.table.node,
      this.empty,
      node(
        "nav",
        { class: "aw-row", "aria-label": "Pages of events" },
        this.newer,
        this.older,
        this.range,
      ),
    );
    this.columns = node("div", { class: "aw-events-layout" }, list, this.detail.node);
    this.replaceChildren(this.filter.node, this.columns);
  }

  async #load(offset, { toTop = false } = {}) {
    const load = ++this.#loads;
    const query = this.filter.query;
    query.set("limit", PAGE_SIZE);
    query.set("offset", Math.max(0, offset));
    try {
      const { total, events } = await get(`api/events?${query}`);
      if (load !== this.#loads) return; // superseded by a newer load
      this.#offset = Math.max(0, offset);
      this.#total = total;
      if (this.#offset === 0) this.#newIds.clear();
      this.error.textContent = "";
      this.table.show(events);
      this.#showRange(events.length);
    } catch (error) {
      this.error.textContent = `Events can't be loaded: ${error.message}`;
    }
    if (toTop && this.getBoundingClientRect().top < 0) this.table.node.scrollIntoView();
  }

  #showRange(count) {
    this.table.node.hidden = count === 0;
    this.empty.hidden = count > 0;
    const isAll = !this.filter.query.size;
    this.empty.textContent = isAll ? "No events yet." : "No matching events.";
    const last = this.#offset + count;
    const [from, to, total] = [this.#offset + 1, last, this.#total].map(number.format);
    const range = `${from} to ${to} of ${total}`;
    if (this.range.textContent !== range) this.range.textContent = count ? range : "";
    this.newer.disabled = this.#offset === 0;
    this.older.disabled = last >= this.#total;
    this.#showNewCount();
  }

  #showNewCount() {
    const count = this.#newIds.size;
    if (count === 0) this.newEvents.replaceChildren();
    else {
      this.showNew.textContent = count === 1 ? "1 new event" : `${number.format(count)} new events`;
      if (!this.showNew.isConnected) this.newEvents.append(this.showNew);
    }
  }

  #onUpdate({ change, event }) {
    if (change === "delete") {
      this.table.markDeleted(event.id);
      this.detail.markDeleted(event.id);
      this.#newIds.delete(event.id);
      return;
    }
    // Updates from the camera carry no clips and no reviews.
    const update = change === "review" ? event : detected(event);
    const isShown = this.table.update(update);
    this.detail.update(update);
    if (!isShown && change !== "review" && this.filter.matches(event)) this.#newIds.add(event.id);
  }

  #tick() {
    this.table.tick();
    if (this.#newIds.size === 0) return this.detail.tick();
    if (this.#isInUse()) this.#showNewCount();
    else this.#load(0);
    return this.detail.tick();
  }

  /** Whether rows must not move now. */
  #isInUse() {
    const table = this.table.node;
    const isAbove = table.getBoundingClientRect().top < 0;
    return this.#offset > 0 || isAbove || table.matches(":hover, :focus-within");
  }

  #select(id) {
    history.replaceState(null, "", `#event=${id}`);
    this.#open(id);
  }

  #open(id) {
    this.table.select(id);
    this.columns.classList.add("aw-with-detail");
    const coversList = matchMedia("(max-width: 900px)").matches;
    if (coversList) this.scrollIntoView();
    this.detail.open(id, { focus: coversList });
  }

  #onClose() {
    const row = this.table.body.querySelector(".aw-selected button");
    this.table.select("");
    this.columns.classList.remove("aw-with-detail");
    if (hashValue("event")) history.replaceState(null, "", location.pathname + location.search);
    row?.focus();
  }

  #update(event) {
    this.table.update(event);
    this.detail.update(event);
    this.filter.load().catch(() => {}); // for new labels
  }

  #onDelete(id) {
    this.table.markDeleted(id);
    this.detail.close();
    this.#load(this.#offset);
  }
}

/** The fields that an update from the camera sets. */
function detected({ id, end, end_s, peak, peak_s, mean, closed_by, start, start_s }) {
  return { id, end, end_s, peak, peak_s, mean, closed_by, start, start_s };
}

customElements.define("aw-events", Events);

// A link to an event opens the Events tab as soon as it exists.
function openLinkedEvent() {
  if (!hashValue("event")) return;
  const hasTab = () =>
    [...document.querySelectorAll('[role="tab"]')].some(
      (tab) => tab.textContent.trim() === "Events",
    );
  if (hasTab()) return openTab("Events");
  const observer = new MutationObserver(() => {
    if (!hasTab()) return;
    observer.disconnect();
    openTab("Events");
  });
  observer.observe(document.body, { childList: true, subtree: true });
}
openLinkedEvent();
