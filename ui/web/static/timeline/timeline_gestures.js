// Moving and zooming by mouse, finger and wheel.

const isDrag = 5; // pixels

/**
 * `move(pixels)` is called while something is dragged, `zoom(factor, x)` for the wheel and two
 * fingers; `zoom` says whether it changed anything.
 */
export function gestures(area, { move, zoom }) {
  const fingers = new Map(); // by pointer: where it is
  let dragged = 0;
  area.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    if (fingers.size === 0) dragged = 0;
    fingers.set(event.pointerId, event.clientX);
  });
  area.addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) return;
    const before = [...fingers.values()];
    fingers.set(event.pointerId, event.clientX);
    const after = [...fingers.values()];
    if (fingers.size === 2) {
      dragged = Infinity;
      const [was, is] = [before, after].map(([one, other]) => Math.max(10, Math.abs(one - other)));
      zoom(was / is, (after[0] + after[1]) / 2 - area.getBoundingClientRect().left);
    }
    dragged += Math.abs(after[0] - before[0]);
    if (dragged > isDrag) {
      // Not before: whatever has the pointer is what was clicked.
      area.setPointerCapture(event.pointerId);
      move((after.reduce(sum, 0) - before.reduce(sum, 0)) / fingers.size);
    }
  });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
    area.addEventListener(end, (event) => fingers.delete(event.pointerId));
  }
  area.addEventListener("pointerleave", (event) => {
    if (!area.hasPointerCapture(event.pointerId)) fingers.delete(event.pointerId);
  });
  area.addEventListener(
    "click",
    (event) => dragged > isDrag && event.detail && event.stopPropagation(),
    true,
  );
  area.addEventListener(
    "wheel",
    (event) => {
      if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
        event.preventDefault();
        move(-event.deltaX);
        return;
      }
      const x = event.clientX - area.getBoundingClientRect().left;
      // All of the day is there: the page scrolls on.
      if (zoom(1.0015 ** Math.max(-300, Math.min(300, event.deltaY)), x)) event.preventDefault();
    },
    { passive: false },
  );
}

const sum = (one, other) => one + other;
