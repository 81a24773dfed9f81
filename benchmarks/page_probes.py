"""JavaScript probes for a browser's page: burnt-in clocks, and responsiveness."""

from __future__ import annotations

from tests import burnt_clock
from tests.http_camera import PERIOD_S

_CLOCK = f"""
window.readings = [];
const readClock = {burnt_clock.READ_IN_BROWSER};
const read = (context) => {{
  const ms = 1000 * readClock(context, context.canvas.width, context.canvas.height);
  const period = {round(PERIOD_S * 1000)};
  return (((Date.now() % period) - ms + period / 2) % period) - period / 2;
}};
"""
# Records each frame drawn on a canvas of the Live tab: [width, age in ms].
ON_DRAW = (
    _CLOCK
    + """
const draw = CanvasRenderingContext2D.prototype.drawImage;
CanvasRenderingContext2D.prototype.drawImage = function (...args) {
  draw.apply(this, args);
  if (!this.canvas.classList.contains("aw-frame")) return;
  window.readings.push([this.canvas.width, window.readClocks === false ? 0 : read(this)]);
};
"""
)
# The same for the <img> of a page.
ON_IMG_FRAME = (
    _CLOCK
    + """
const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
let before = null;
const poll = () => {
  const image = document.querySelector("img");
  if (image?.naturalWidth) {
    context.canvas.width = image.naturalWidth;
    context.canvas.height = image.naturalHeight;
    context.drawImage(image, 0, 0);
    const age = read(context);
    const shown = Math.round(Date.now() - age);
    if (shown !== before) window.readings.push([image.naturalWidth, age]);
    before = shown;
  }
  requestAnimationFrame(poll);
};
requestAnimationFrame(poll);
"""
)
# The page's load, and its frame times.
RESPONSIVENESS = """async (ms) => {
  let busy = 0;
  new PerformanceObserver((list) => list.getEntries().forEach((entry) => (busy += entry.duration)))
    .observe({ type: "longtask" });
  const frames = [];
  const startedAt = performance.now();
  for (let now = startedAt; now - startedAt < ms; ) {
    const next = await new Promise(requestAnimationFrame);
    frames.push(next - now);
    now = next;
  }
  frames.sort((a, b) => a - b);
  return { busy: busy / ms, frame: frames[Math.floor(frames.length * 0.95)] };
}"""
# Milliseconds from a click on the named button until the page has changed.
CLICK = """(name) => new Promise((resolve) => {
  const startedAt = performance.now();
  [...document.querySelectorAll("aw-live button")].find((button) => button.ariaLabel === name
    || button.textContent === name).click();
  requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - startedAt)));
})"""
