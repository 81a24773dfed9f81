// <aw-try>: the model on the user's own webcam or video file.
import { button, get, node, ownStyle, ApiError } from "../api.js";
import { SessionSocket } from "./try_socket.js";
import {
  SourceError,
  forEachFrame,
  openFile,
  openWebcam,
  webcamUnavailable,
  webcams,
} from "./try_source.js";
import { View } from "./try_view.js";

const MAX_HIDDEN_MS = 5000; // on another tab or page; then the camera is released

class Try extends HTMLElement {
  #session = null; // {source, socket, view, stopFrames, hiddenAt}
  #startCount = 0; // identifies the latest start: results of earlier ones are ignored
  #timer = null;
  #container = node("div", { class: "aw-try-session" });
  #hint = node("p", { class: "aw-try-hint" }, "or drop a video file here");
  #status = node("p", { class: "aw-try-status", role: "status" });
  #error = node("p", { class: "aw-error", role: "alert" });
  #file = node("input", {
    type: "file",
    accept: "video/*",
    hidden: true,
    change: () => this.#onFileChosen(),
  });
  #webcam = button("Use my webcam", () => this.#start(() => openWebcam()), { class: "aw-primary" });
  #video = button("Choose a video", () => this.#file.click());
  #stop = button("Stop", () => this.#end("Stopped."), { class: "aw-primary" });
  #cameraSelect = node("select", {
    change: () => this.#start(() => openWebcam(this.#cameraSelect.value)),
  });
  #cameraField = node("label", { class: "aw-field" }, "Camera", this.#cameraSelect);

  async connectedCallback() {
    ownStyle(this);
    this.#timer = setInterval(() => this.#checkVisibility(), 1000);
    if (this.childElementCount) return;
    let limits;
    try {
      limits = await get("api/try/limits");
    } catch (error) {
      this.replaceChildren(node("p", { class: "aw-error", role: "alert" }, `${error.message}.`));
      return;
    }
    if (!limits.max_sessions) {
      const text = "Try it is disabled on this server.";
      this.replaceChildren(node("p", { class: "aw-subdued" }, text));
      return;
    }
    this.#build();
  }

  disconnectedCallback() {
    clearInterval(this.#timer);
    this.#end("");
  }

  #build() {
    this.replaceChildren(
      node(
        "p",
        { class: "aw-try-intro" },
        "Run the model on your webcam or on a video file. Frames are sent only to the machine " +
          "that runs Actionwatch, and are never stored.",
      ),
      node(
        "div",
        { class: "aw-row" },
        this.#webcam,
        this.#video,
        this.#stop,
        this.#cameraField,
        this.#file,
      ),
      this.#error,
      this.#status,
      this.#hint,
      this.#container,
    );
    this.#error.textContent = webcamUnavailable();
    this.#webcam.disabled = Boolean(webcamUnavailable());
    this.addEventListener("dragover", (event) => this.#onDragover(event));
    this.addEventListener("dragleave", () => this.classList.remove("aw-try-drop"));
    this.addEventListener("drop", (event) => this.#onDrop(event));
    this.#updateControls();
  }

  /** Show the controls that match the state. */
  #updateControls() {
    const active = this.#session !== null;
    this.#stop.hidden = !active;
    this.#webcam.hidden = this.#video.hidden = this.#hint.hidden = active;
    this.#cameraField.hidden = !active || this.#cameraSelect.options.length < 2;
  }

  async #start(open) {
    this.#end("");
    const start = ++this.#startCount;
    this.#error.textContent = "";
    this.#status.textContent = "Opening …";
    this.#webcam.disabled = true;
    try {
      const limits = await get("api/try/limits");
      const source = await open();
      if (start !== this.#startCount || !this.isConnected) source.stop();
      else await this.#run(source, limits);
    } catch (error) {
      if (!(error instanceof SourceError || error instanceof ApiError)) throw error;
      if (start !== this.#startCount) return;
      this.#status.textContent = "";
      this.#error.textContent = error.message;
    } finally {
      this.#webcam.disabled = Boolean(webcamUnavailable());
      this.#updateControls();
    }
  }

  async #run(source, limits) {
    const view = new View(source.video, source.track ? Date.now() : null);
    const socket = new SessionSocket(limits, {
      onState: (state) => view.update(state),
      onEnd: (message) => this.#end(message),
    });
    const stopFrames = forEachFrame(source, (seconds) => socket.send(source.video, seconds));
    this.#session = { source, socket, view, stopFrames, hiddenAt: null };
    source.track?.addEventListener("ended", () => this.#end("The camera was disconnected."));
    if (!source.track)
      source.video.addEventListener("ended", () => this.#end(`End of ${source.name}.`));
    this.#container.replaceChildren(view.stage, view.list);
    this.#status.textContent = source.track ? "The video is not mirrored: left means the left side of the image." : source.name;
    this.#updateControls();
    this.#stop.focus({ preventScroll: true });
    if (source.track) await this.#listCameras(source.device);
  }

  async #listCameras(current) {
    const devices = await webcams();
    this.#cameraSelect.replaceChildren(
      ...devices.map(({ id, name }) =>
        node("option", { value: id, selected: id === current }, name),
      ),
    );
  }

  /** End the session, if there is one, and show why. */
  #end(message) {
    this.#startCount++;
    const session = this.#session;
    if (!session) return;
    this.#session = null;
    session.stopFrames();
    session.socket.close();
    session.view.end();
    session.source.stop();
    session.view.stage.remove();
    this.#status.textContent = message;
    this.#cameraSelect.replaceChildren();
    this.#updateControls();
  }

  /** End the session after the tab was hidden for a while. */
  #checkVisibility() {
    const session = this.#session;
    if (!session) return;
    const visible = !document.hidden && this.checkVisibility();
    session.hiddenAt = visible ? null : (session.hiddenAt ?? performance.now());
    if (session.hiddenAt !== null && performance.now() - session.hiddenAt > MAX_HIDDEN_MS)
      this.#end("Stopped: the tab was hidden.");
  }

  #onFileChosen() {
    const [file] = this.#file.files;
    this.#file.value = ""; // so that the same file can be chosen again
    if (file) this.#start(() => openFile(file));
  }

  #onDragover(event) {
    event.preventDefault();
    this.classList.add("aw-try-drop");
  }

  #onDrop(event) {
    event.preventDefault();
    this.classList.remove("aw-try-drop");
    const [file] = event.dataTransfer.files;
    if (file) this.#start(() => openFile(file));
  }
}

customElements.define("aw-try", Try);
