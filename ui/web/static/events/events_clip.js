// The media of an event: its clip, which starts some seconds before the event, and its snapshot.
import { base, button, node } from "../api.js";

const MAX_WRITE_MS = 60_000; // clips are written after the end of an event

/** Clip and snapshot, or why there is no clip. */
export function clipOf(event) {
  const snapshot = event.snapshot && new URL(`media/snapshots/${event.snapshot}`, base);
  const parts = [];
  if (event.clip) parts.push(...video(event, snapshot));
  else parts.push(node("p", { class: "aw-subdued" }, missingReason(event)));
  if (snapshot) {
    const alt = `Snapshot of ${event.camera} at the event's peak`;
    const image = node("img", { src: snapshot, alt, class: "aw-snapshot" });
    parts.push(
      node(
        "figure",
        {},
        node("a", { href: snapshot, target: "_blank", rel: "noopener" }, image),
        node("figcaption", { class: "aw-subdued" }, "Snapshot at peak"),
      ),
    );
  }
  return parts;
}

/** Whether the clip may still be written. */
export const isClipPending = (event) =>
  !event.clip &&
  !event.clip_note &&
  (event.end === null || Date.now() - Date.parse(event.end) < MAX_WRITE_MS);

function missingReason(event) {
  if (event.clip_note) return `No clip: ${event.clip_note}`;
  if (event.end === null) return "The clip is available after the event ends.";
  return isClipPending(event) ? "Waiting for the clip." : "No clip was recorded.";
}

function video(event, snapshot) {
  const source = new URL(`media/clips/${event.clip}`, base);
  const error = node("p", { class: "aw-error", role: "alert" });
  const fail = () => (error.textContent = "The clip can't be played; it may have been deleted.");
  const player = node("video", {
    src: source,
    poster: snapshot || null,
    controls: true,
    playsinline: true,
    preload: "metadata",
    "aria-label": `Clip of ${event.label}`,
    error: fail,
  });
  const controls = node("div", { class: "aw-row aw-clip-controls" });
  if (event.clip_start_s !== null && event.end_s !== null)
    controls.append(...eventRange(event, player));
  const save = { href: source, download: "", class: "aw-button aw-link-button" };
  controls.append(node("a", save, "Download clip"));
  const note =
    event.clip_note && node("p", { class: "aw-subdued" }, `Note on the clip: ${event.clip_note}`);
  return [player, error, controls, ...(note ? [note] : [])];
}

/** The event's range within the clip: a bar, a text, and a button that jumps there. */
function eventRange(event, player) {
  const from = Math.max(0, event.start_s - event.clip_start_s);
  const to = Math.max(from, event.end_s - event.clip_start_s);
  const range = node("span", { class: "aw-clip-range" });
  const position = () => {
    const percentage = (seconds) => (100 * seconds) / player.duration;
    range.style.left = `${percentage(from)}%`;
    range.style.width = `${Math.max(1, percentage(Math.min(to, player.duration) - from))}%`;
  };
  player.addEventListener("loadedmetadata", position);
  const jump = () => {
    player.currentTime = from;
    player.play().catch(() => {}); // autoplay may be blocked
  };
  const text = `Event from ${from.toFixed(1)} to ${to.toFixed(1)} s`;
  return [
    node("span", { class: "aw-clip-bar", "aria-hidden": "true" }, range),
    node("span", { class: "aw-subdued" }, text),
    button("Jump to event", jump),
  ];
}
