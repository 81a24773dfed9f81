// Where a visitor's pictures come from: a webcam or a file, as a <video> that plays them.
import { node } from "../api.js";

/** What a visitor can't have; `message` is a sentence with the way out. */
export class SourceProblem extends Error {}

const REFUSED = {
  NotAllowedError:
    "The browser did not lend its camera. Allow it by the sign beside the address, then try again.",
  NotFoundError: "No camera was found. Connect one, then try again; or choose a video.",
  NotReadableError:
    "The camera is used by another program, or does not answer. Close that program, then try " +
    "again.",
};
Object.assign(REFUSED, {
  SecurityError: REFUSED.NotAllowedError,
  OverconstrainedError: REFUSED.NotFoundError,
  AbortError: REFUSED.NotReadableError,
});

/** Why this browser lends no camera to this page at all; "" if it may. */
export function cameraProblem() {
  if (!window.isSecureContext)
    return (
      "Browsers lend their camera only to pages that came by https, or from the machine itself " +
      "(localhost). Ask for an https address of this page, or choose a video."
    );
  if (!navigator.mediaDevices?.getUserMedia)
    return "This browser lends no camera to pages. Use another browser, or choose a video.";
  return "";
}

/** The webcam with that id, or any: {video, name, device, stop}. Throws SourceProblem. */
export async function openWebcam(device = "") {
  const problem = cameraProblem();
  if (problem) throw new SourceProblem(problem);
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      audio: false,
      video: {
        width: { ideal: 640 },
        height: { ideal: 480 },
        frameRate: { ideal: 30 },
        ...(device && { deviceId: { exact: device } }),
      },
    });
  } catch (error) {
    throw new SourceProblem(REFUSED[error.name] ?? `The camera can't be used: ${error.message}.`);
  }
  const [track] = stream.getVideoTracks();
  const video = player();
  video.srcObject = stream;
  const stop = () => {
    stream.getTracks().forEach((one) => one.stop());
    video.srcObject = null;
  };
  await video.play().catch(() => {}); // it plays by itself where the browser waits for a click
  return {
    video,
    name: track.label || "webcam",
    device: track.getSettings().deviceId,
    track,
    stop,
  };
}

/** The webcams that there are, by name: [{id, name}]. Names are known once one was lent. */
export async function webcams() {
  const found = (await navigator.mediaDevices.enumerateDevices()).filter(
    (one) => one.kind === "videoinput",
  );
  return found.map((one, index) => ({
    id: one.deviceId,
    name: one.label || `camera ${index + 1}`,
  }));
}

/** A video from the visitor's disk, which their own browser decodes. Throws SourceProblem. */
export async function openFile(file) {
  const address = URL.createObjectURL(file);
  const video = player();
  video.controls = true;
  video.src = address;
  const stop = () => {
    video.removeAttribute("src");
    video.load();
    URL.revokeObjectURL(address);
  };
  const plays = await new Promise((resolve) => {
    video.addEventListener("loadeddata", () => resolve(video.videoWidth > 0), { once: true });
    video.addEventListener("error", () => resolve(false), { once: true });
  });
  if (!plays) {
    stop();
    throw new SourceProblem(`This browser can't play ${file.name}; try MP4 with H.264.`);
  }
  await video.play().catch(() => {}); // the visitor has the controls
  return { video, name: file.name, stop };
}

function player() {
  const video = node("video", { playsinline: true, "aria-label": "your picture" });
  video.muted = true;
  return video;
}

/**
 * Call `take(seconds)` for each picture that a video shows, until the returned function is called.
 * Seconds are the video's own; a webcam's begin with the first picture.
 */
export function eachPicture({ video, track }, take) {
  let over = false;
  let first = null;
  let shown = -1;
  const seen = (now, media) => {
    if (over) return;
    first ??= now;
    const seconds = track ? (now - first) / 1000 : media;
    if (seconds !== shown) take((shown = seconds));
    next();
  };
  const next = () => {
    if (video.requestVideoFrameCallback)
      video.requestVideoFrameCallback((now, { mediaTime }) => seen(now, mediaTime));
    else requestAnimationFrame((now) => seen(now, video.currentTime));
  };
  next();
  return () => (over = true);
}
