// <aw-events>: what was seen, newest first, to look at, to review and to export.
import { button, get, node, openTab, ownStyle, placeOf, whileSeen } from "../api.js";
import { EventDetail } from "./events_detail.js";
import { EventFilter } from "./events_filter.js";
import { listen } from "./events_live.js";
import { EventTable } from "./events_table.js";

const atOnce = 50;
const number = new Intl.NumberFormat();

class Events extends HTMLElement {
  #offset = 0;
  #total = 0;
  #fresh = new Set(); // ids of new events that are not shown yet
  #loads = 0;

  connectedCallback() {
    ownStyle(this);
    this.filter = new EventFilter(() => this.#load(0));
    this.table = new EventTable((id) => this.#choose(id));
    this.detail = new EventDetail({
      closed: () => this.#closed(),
      changed: (event) => this.#update(event),
      deleted: (id) => this.#deleted(id),
      labelsId: this.filter.labels.id,
    });
    this.#lay();
    this.goTo = () => placeOf("event") && this.#open(placeOf("event"));
    addEventListener("hashchange", this.goTo);
    this.stop = listen(
      this,
      (news) => this.#hear(news),
      () => this.#fresh.add("missed"),
    );
    whileSeen(this, 1000, () => this.#tick());
    this.filter.load().catch(() => {}); // the list tells what is wrong
    this.#load(0);
    this.goTo();
  }

  disconnectedCallback() {
    this.stop();
    removeEventListener("hashchange", this.goTo);
  }

  #lay() {
    this.newer = button("Newer", () => this.#load(this.#offset - atOnce, { toTop: true }));
    this.older = button("Older", () => this.#load(this.#offset + atOnce, { toTop: true }));
    this.shown = node("span", { class: "aw-quiet", role: "status" });
    this.problem = node("p", { class: "aw-problem", role: "alert" });
    this.more = button("", () => this.#load(0, { toTop: true }));
    this.more.classList.add("aw-main");
    this.news = node("div", { class: "aw-news", "aria-live": "polite" });
    this.empty = node("p", { class: "aw-quiet", hidden: true });
    const list = node(
      "div",
      { class: "aw-list" },
      this.news,
      this.problem,
      this.table.node,
      this.empty,
      node(
        "nav",
        { class: "aw-row", "aria-label": "Pages of events" },
        this.newer,
        this.older,
        this.shown,
      ),
    );
    this.parts = node("div", { class: "aw-events-parts" }, list, this.detail.node);
    this.replaceChildren(this.filter.node, this.parts);
  }

  async #load(offset, { toTop = false } = {}) {
    const load = ++this.#loads;
    const query = this.filter.query;
    query.set("limit", atOnce);
    query.set("offset", Math.max(0, offset));
    try {
      const { total, events } = await get(`api/events?${query}`);
      if (load !== this.#loads) return; // another list is wanted by now
      this.#offset = Math.max(0, offset);
      this.#total = total;
      if (this.#offset === 0) this.#fresh.clear();
      this.problem.textContent = "";
      this.table.show(events);
      this.#tellPlace(events.length);
    } catch (error) {
      this.problem.textContent = `No events can be shown: ${error.message}`;
    }
    if (toTop && this.getBoundingClientRect().top < 0) this.table.node.scrollIntoView();
  }

  #tellPlace(count) {
    this.table.node.hidden = count === 0;
    this.empty.hidden = count > 0;
    const isAll = !this.filter.query.size;
    this.empty.textContent = isAll ? "Nothing was seen yet." : "There are no such events.";
    const last = this.#offset + count;
    const [from, to, all] = [this.#offset + 1, last, this.#total].map(number.format);
    const place = `${from} to ${to} of ${all}`;
    if (this.shown.textContent !== place) this.shown.textContent = count ? place : "";
    this.newer.disabled = this.#offset === 0;
    this.older.disabled = last >= this.#total;
    this.#tellFresh();
  }

  #tellFresh() {
    const count = this.#fresh.size;
    if (count === 0) this.news.replaceChildren();
    else {
      this.more.textContent = count === 1 ? "1 new event" : `${number.format(count)} new events`;
      if (!this.more.isConnected) this.news.append(this.more);
    }
  }

  #hear({ change, event }) {
    if (change === "delete") {
      this.table.strike(event.id);
      this.detail.strike(event.id);
      this.#fresh.delete(event.id);
      return;
    }
    // The news of the camera know nothing of recordings and reviews.
    const news = change === "review" ? event : seen(event);
    const isShown = this.table.update(news);
    this.detail.update(news);
    if (!isShown && change !== "review" && this.filter.means(event)) this.#fresh.add(event.id);
  }

  #tick() {
    this.table.tick();
    if (this.#fresh.size === 0) return this.detail.tick();
    if (this.#isHeld()) this.#tellFresh();
    else this.#load(0);
    return this.detail.tick();
  }

  /** Whether a row must not move now. */
  #isHeld() {
    const table = this.table.node;
    const isAbove = table.getBoundingClientRect().top < 0;
    return this.#offset > 0 || isAbove || table.matches(":hover, :focus-within");
  }

  #choose(id) {
    history.replaceState(null, "", `#event=${id}`);
    this.#open(id);
  }

  #open(id) {
    this.table.mark(id);
    this.parts.classList.add("aw-with-detail");
    const covers = matchMedia("(max-width: 900px)").matches; // then the list is hidden
    if (covers) this.scrollIntoView();
    this.detail.open(id, { focus: covers });
  }

  #closed() {
    const row = this.table.body.querySelector(".aw-chosen button");
    this.table.mark("");
    this.parts.classList.remove("aw-with-detail");
    if (placeOf("event")) history.replaceState(null, "", location.pathname + location.search);
    row?.focus();
  }

  #update(event) {
    this.table.update(event);
    this.detail.update(event);
    this.filter.load().catch(() => {}); // there may be a new label
  }

  #deleted(id) {
    this.table.strike(id);
    this.detail.close();
    this.#load(this.#offset);
  }
}

/** What a camera's news say for certain. */
function seen({ id, end, end_s, peak, peak_s, mean, closed_by, start, start_s }) {
  return { id, end, end_s, peak, peak_s, mean, closed_by, start, start_s };
}

customElements.define("aw-events", Events);

// A link to an event leads to its tab, as soon as that is there.
function follow() {
  if (!placeOf("event")) return;
  const tabIsThere = () =>
    [...document.querySelectorAll('[role="tab"]')].some(
      (tab) => tab.textContent.trim() === "Events",
    );
  if (tabIsThere()) return openTab("Events");
  const look = new MutationObserver(() => {
    if (!tabIsThere()) return;
    look.disconnect();
    openTab("Events");
  });
  look.observe(document.body, { childList: true, subtree: true });
}
follow();
