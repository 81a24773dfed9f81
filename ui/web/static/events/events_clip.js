// What was recorded of an event: its clip, which begins some seconds before it, and its picture.
import { base, button, node } from "../api.js";

const writingForMs = 60_000; // a clip is written when its event is over, which takes a moment

/** The clip with its picture, or why there is none. */
export function clipOf(event) {
  const snapshot = event.snapshot && new URL(`media/snapshots/${event.snapshot}`, base);
  const parts = [];
  if (event.clip) parts.push(...video(event, snapshot));
  else parts.push(node("p", { class: "aw-quiet" }, whyNone(event)));
  if (snapshot) {
    const alt = `${event.camera} when the event was clearest`;
    const picture = node("img", { src: snapshot, alt, class: "aw-snapshot" });
    parts.push(
      node(
        "figure",
        {},
        node("a", { href: snapshot, target: "_blank", rel: "noopener" }, picture),
        node("figcaption", { class: "aw-quiet" }, "at its peak"),
      ),
    );
  }
  return parts;
}

/** Whether its clip may still come. */
export const isAwaited = (event) =>
  !event.clip &&
  !event.clip_note &&
  (event.end === null || Date.now() - Date.parse(event.end) < writingForMs);

function whyNone(event) {
  if (event.clip_note) return `No clip: ${event.clip_note}`;
  if (event.end === null) return "Its clip can be seen when it is over.";
  return isAwaited(event) ? "Its clip may come in a moment." : "No clip was recorded of it.";
}

function video(event, snapshot) {
  const source = new URL(`media/clips/${event.clip}`, base);
  const told = node("p", { class: "aw-problem", role: "alert" });
  const fail = () => (told.textContent = "The clip can't be played; it may have been removed.");
  const player = node("video", {
    src: source,
    poster: snapshot || null,
    controls: true,
    playsinline: true,
    preload: "metadata",
    "aria-label": `clip of ${event.label}`,
    error: fail,
  });
  const below = node("div", { class: "aw-row aw-clip-below" });
  if (event.clip_start_s !== null && event.end_s !== null) below.append(...toEvent(event, player));
  const save = { href: source, download: "", class: "aw-button aw-as-link" };
  below.append(node("a", save, "Save the clip"));
  const note =
    event.clip_note && node("p", { class: "aw-quiet" }, `About the clip: ${event.clip_note}`);
  return [player, told, below, ...(note ? [note] : [])];
}

/** Where in the clip the event is: in words, as a bar, and a button that goes there. */
function toEvent(event, player) {
  const from = Math.max(0, event.start_s - event.clip_start_s);
  const to = Math.max(from, event.end_s - event.clip_start_s);
  const part = node("span", { class: "aw-clip-part" });
  const place = () => {
    const share = (seconds) => (100 * seconds) / player.duration;
    part.style.left = `${share(from)}%`;
    part.style.width = `${Math.max(1, share(Math.min(to, player.duration) - from))}%`;
  };
  player.addEventListener("loadedmetadata", place);
  const go = () => {
    player.currentTime = from;
    player.play().catch(() => {}); // the browser may not want to, without harm
  };
  const words = `The event is at ${from.toFixed(1)} to ${to.toFixed(1)} s`;
  return [
    node("span", { class: "aw-clip-bar", "aria-hidden": "true" }, part),
    node("span", { class: "aw-quiet" }, words),
    button("Go to the event", go),
  ];
}
