"""What benchmarks run in a browser's page: reading burnt-in clocks, and how the page feels."""

from __future__ import annotations

from tests import burnt_clock
from tests.http_camera import PERIOD_S

_CLOCK = f"""
window.readings = [];
const read = (context) => {{
  const {{ width, height }} = context.canvas;
  const row = context.getImageData(0, height - Math.floor(height / 16), width, 1).data;
  let ms = 0;
  for (let bit = 0; bit < {burnt_clock.BITS}; bit += 1) {{
    const at = 4 * Math.floor(((bit + 0.5) * width) / {burnt_clock.BITS});
    if (row[at] + row[at + 1] + row[at + 2] > 381) ms += 2 ** bit;
  }}
  const period = {round(PERIOD_S * 1000)};
  return (((Date.now() % period) - ms + period / 2) % period) - period / 2;
}};
"""
# Each picture that is drawn on a canvas of the Live tab: [width, age in ms].
ON_DRAWING = (
    _CLOCK
    + """
const draw = CanvasRenderingContext2D.prototype.drawImage;
CanvasRenderingContext2D.prototype.drawImage = function (...given) {
  draw.apply(this, given);
  if (!this.canvas.classList.contains("aw-frame")) return;
  window.readings.push([this.canvas.width, window.reads === false ? 0 : read(this)]);
};
"""
)
# The same of the <img> on a page.
ON_EACH_FRAME = (
    _CLOCK
    + """
const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
let before = null;
const look = () => {
  const picture = document.querySelector("img");
  if (picture?.naturalWidth) {
    context.canvas.width = picture.naturalWidth;
    context.canvas.height = picture.naturalHeight;
    context.drawImage(picture, 0, 0);
    const age = read(context);
    const shown = Math.round(Date.now() - age);
    if (shown !== before) window.readings.push([picture.naturalWidth, age]);
    before = shown;
  }
  requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""
)
# How busy the page is, and how evenly it comes to draw.
GRID = """async (ms) => {
  let busy = 0;
  new PerformanceObserver((list) => list.getEntries().forEach((one) => (busy += one.duration)))
    .observe({ type: "longtask" });
  const frames = [];
  const began = performance.now();
  for (let now = began; now - began < ms; ) {
    const next = await new Promise(requestAnimationFrame);
    frames.push(next - now);
    now = next;
  }
  frames.sort((a, b) => a - b);
  return { busy: busy / ms, frame: frames[Math.floor(frames.length * 0.95)] };
}"""
# From a click on the button of that name until the page has changed, in ms.
CLICK = """(name) => new Promise((resolve) => {
  const began = performance.now();
  [...document.querySelectorAll("aw-live button")].find((one) => one.ariaLabel === name
    || one.textContent === name).click();
  requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - began)));
})"""
