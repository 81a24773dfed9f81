// Panning and zooming by mouse, touch and wheel.

const MIN_DRAG = 5; // pixels

/**
 * `pan(pixels)` is called while dragging, `zoom(factor, x)` for the wheel and for pinching; `zoom`
 * returns whether it changed anything.
 */
export function gestures(area, { pan, zoom }) {
  const pointers = new Map(); // x by pointer id
  let dragged = 0;
  area.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    if (pointers.size === 0) dragged = 0;
    pointers.set(event.pointerId, event.clientX);
  });
  area.addEventListener("pointermove", (event) => {
    if (!pointers.has(event.pointerId)) return;
    const before = [...pointers.values()];
    pointers.set(event.pointerId, event.clientX);
    const after = [...pointers.values()];
    if (pointers.size === 2) {
      dragged = Infinity;
      const [distanceBefore, distance] = [before, after].map(([a, b]) =>
        Math.max(10, Math.abs(a - b)),
      );
      zoom(
        distanceBefore / distance,
        (after[0] + after[1]) / 2 - area.getBoundingClientRect().left,
      );
    }
    dragged += Math.abs(after[0] - before[0]);
    if (dragged > MIN_DRAG) {
      // Not before: the element that captures the pointer receives the click.
      area.setPointerCapture(event.pointerId);
      pan((after.reduce(sum, 0) - before.reduce(sum, 0)) / pointers.size);
    }
  });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
    area.addEventListener(end, (event) => pointers.delete(event.pointerId));
  }
  area.addEventListener("pointerleave", (event) => {
    if (!area.hasPointerCapture(event.pointerId)) pointers.delete(event.pointerId);
  });
  area.addEventListener(
    "click",
    (event) => dragged > MIN_DRAG && event.detail && event.stopPropagation(),
    true,
  );
  area.addEventListener(
    "wheel",
    (event) => {
      if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
        event.preventDefault();
        pan(-event.deltaX);
        return;
      }
      const x = event.clientX - area.getBoundingClientRect().left;
      // The whole day is visible: the page scrolls instead.
      if (zoom(1.0015 ** Math.max(-300, Math.min(300, event.deltaY)), x)) event.preventDefault();
    },
    { passive: false },
  );
}

const sum = (a, b) => a + b;
