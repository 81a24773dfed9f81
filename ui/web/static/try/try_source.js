// The video source of a browser session: a webcam or a file, played in a <video>.
import { node } from "../api.js";

/** A source can't be opened; `message` says why and how to fix it. */
export class SourceError extends Error {}

const WEBCAM_ERRORS = {
  NotAllowedError:
    "Camera access was denied. Allow it with the icon next to the address, then try again.",
  NotFoundError: "No camera found. Connect one and try again, or choose a video.",
  NotReadableError:
    "The camera is in use by another program or does not respond. Close that program and try " +
    "again.",
};
Object.assign(WEBCAM_ERRORS, {
  SecurityError: WEBCAM_ERRORS.NotAllowedError,
  OverconstrainedError: WEBCAM_ERRORS.NotFoundError,
  AbortError: WEBCAM_ERRORS.NotReadableError,
});

/** Why this browser gives this page no camera access at all; "" if it may. */
export function webcamUnavailable() {
  if (!window.isSecureContext)
    return (
      "Browsers allow camera access only over HTTPS or on localhost. Open this page over HTTPS, " +
      "or choose a video."
    );
  if (!navigator.mediaDevices?.getUserMedia)
    return "This browser does not support camera access. Use another browser, or choose a video.";
  return "";
}

/** The webcam with that id, or any: {video, name, device, track, stop}. Throws SourceError. */
export async function openWebcam(device = "") {
  const problem = webcamUnavailable();
  if (problem) throw new SourceError(problem);
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
    const message = WEBCAM_ERRORS[error.name] ?? `The camera can't be used: ${error.message}.`;
    throw new SourceError(message);
  }
  const [track] = stream.getVideoTracks();
  const video = player();
  video.srcObject = stream;
  const stop = () => {
    stream.getTracks().forEach((one) => one.stop());
    video.srcObject = null;
  };
  await video.play().catch(() => {}); // it starts later if the browser waits for a click
  return {
    video,
    name: track.label || "webcam",
    device: track.getSettings().deviceId,
    track,
    stop,
  };
}

/** The available webcams: [{id, name}]. Names are known after camera access was granted once. */
export async function webcams() {
  const devices = (await navigator.mediaDevices.enumerateDevices()).filter(
    (device) => device.kind === "videoinput",
  );
  return devices.map((device, index) => ({
    id: device.deviceId,
    name: device.label || `camera ${index + 1}`,
  }));
}

/** A video file of the user, decoded by the browser. Throws SourceError. */
export async function openFile(file) {
  const url = URL.createObjectURL(file);
  const video = player();
  video.controls = true;
  video.src = url;
  const stop = () => {
    video.removeAttribute("src");
    video.load();
    URL.revokeObjectURL(url);
  };
  const canPlay = await new Promise((resolve) => {
    video.addEventListener("loadeddata", () => resolve(video.videoWidth > 0), { once: true });
    video.addEventListener("error", () => resolve(false), { once: true });
  });
  if (!canPlay) {
    stop();
    throw new SourceError(`This browser can't play ${file.name}; try MP4 with H.264.`);
  }
  await video.play().catch(() => {}); // the user has the controls
  return { video, name: file.name, stop };
}

function player() {
  const video = node("video", { playsinline: true, "aria-label": "Your video" });
  video.muted = true;
  return video;
}

/**
 * Call `onFrame(seconds)` for each displayed frame of a video, until the returned function is
 * called. Seconds are the video's media time; those of a webcam start at its first frame.
 */
export function forEachFrame({ video, track }, onFrame) {
  let stopped = false;
  let first = null;
  let shown = -1;
  const handle = (now, mediaTime) => {
    if (stopped) return;
    first ??= now;
    const seconds = track ? (now - first) / 1000 : mediaTime;
    if (seconds !== shown) onFrame((shown = seconds));
    next();
  };
  const next = () => {
    if (video.requestVideoFrameCallback)
      video.requestVideoFrameCallback((now, { mediaTime }) => handle(now, mediaTime));
    else requestAnimationFrame((now) => handle(now, video.currentTime));
  };
  next();
  return () => (stopped = true);
}
