// <aw-try>: the visitor's own webcam, or a video of theirs, with live labels.
import { button, get, node, ownStyle, Problem } from "../api.js";
import { Line } from "./try_socket.js";
import {
  SourceProblem,
  cameraProblem,
  eachPicture,
  openFile,
  openWebcam,
  webcams,
} from "./try_source.js";
import { View } from "./try_view.js";

const UNSEEN_MS = 5000; // after so long on another tab or page the camera is given back

class Try extends HTMLElement {
  #visit = null; // {source, line, view, rest}
  #turn = 0; // counts what was asked for, so that a late answer to what came before is left alone
  #timer = null;
  #place = node("div", { class: "aw-try-place" });
  #hint = node("p", { class: "aw-try-hint" }, "or drop a video here");
  #said = node("p", { class: "aw-try-said", role: "status" });
  #problem = node("p", { class: "aw-problem", role: "alert" });
  #file = node("input", {
    type: "file",
    accept: "video/*",
    hidden: true,
    change: () => this.#chosen(),
  });
  #webcam = button("Use my webcam", () => this.#start(() => openWebcam()), { class: "aw-main" });
  #video = button("Choose a video", () => this.#file.click());
  #stop = button("Stop", () => this.#end("Stopped."), { class: "aw-main" });
  #which = node("select", { change: () => this.#start(() => openWebcam(this.#which.value)) });
  #cameras = node("label", { class: "aw-field" }, "Camera", this.#which);

  async connectedCallback() {
    ownStyle(this);
    this.#timer = setInterval(() => this.#rest(), 1000);
    if (this.childElementCount) return;
    let limits;
    try {
      limits = await get("api/visitors");
    } catch (error) {
      this.replaceChildren(node("p", { class: "aw-problem", role: "alert" }, `${error.message}.`));
      return;
    }
    if (!limits.most) {
      const off = "Trying it with your own webcam or video is turned off here.";
      this.replaceChildren(node("p", { class: "aw-quiet" }, off));
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
        { class: "aw-try-about" },
        "Show the model something of your own: your webcam, or a video from your disk. Your " +
          "pictures go to the machine that runs Actionwatch and to nobody else; they are looked " +
          "at and forgotten, and nothing of them is kept.",
      ),
      node(
        "div",
        { class: "aw-row" },
        this.#webcam,
        this.#video,
        this.#stop,
        this.#cameras,
        this.#file,
      ),
      this.#problem,
      this.#said,
      this.#hint,
      this.#place,
    );
    this.#problem.textContent = cameraProblem();
    this.#webcam.disabled = Boolean(cameraProblem());
    this.addEventListener("dragover", (event) => this.#over(event));
    this.addEventListener("dragleave", () => this.classList.remove("aw-try-drop"));
    this.addEventListener("drop", (event) => this.#dropped(event));
    this.#show();
  }

  /** The controls for what is going on. */
  #show() {
    const on = this.#visit !== null;
    this.#stop.hidden = !on;
    this.#webcam.hidden = this.#video.hidden = this.#hint.hidden = on;
    this.#cameras.hidden = !on || this.#which.options.length < 2;
  }

  async #start(open) {
    this.#end("");
    const turn = ++this.#turn;
    this.#problem.textContent = "";
    this.#said.textContent = "Opening …";
    this.#webcam.disabled = true;
    try {
      const limits = await get("api/visitors");
      const source = await open();
      if (turn !== this.#turn || !this.isConnected) source.stop();
      else await this.#begin(source, limits);
    } catch (error) {
      if (!(error instanceof SourceProblem || error instanceof Problem)) throw error;
      if (turn !== this.#turn) return;
      this.#said.textContent = "";
      this.#problem.textContent = error.message;
    } finally {
      this.#webcam.disabled = Boolean(cameraProblem());
      this.#show();
    }
  }

  async #begin(source, limits) {
    const view = new View(source.video, source.track ? Date.now() : null);
    const line = new Line(limits, {
      told: (answer) => view.told(answer),
      ended: (sentence) => this.#end(sentence),
    });
    const rest = eachPicture(source, (seconds) => line.send(source.video, seconds));
    this.#visit = { source, line, view, rest, unseen: null };
    source.track?.addEventListener("ended", () => this.#end("The camera was disconnected."));
    if (!source.track)
      source.video.addEventListener("ended", () => this.#end(`${source.name} is over.`));
    this.#place.replaceChildren(view.stage, view.list);
    this.#said.textContent = source.track
      ? "Shown as the camera sees it, not mirrored: left is left in the picture."
      : source.name;
    this.#show();
    this.#stop.focus({ preventScroll: true });
    if (source.track) await this.#listCameras(source.device);
  }

  async #listCameras(chosen) {
    const found = await webcams();
    this.#which.replaceChildren(
      ...found.map(({ id, name }) => node("option", { value: id, selected: id === chosen }, name)),
    );
  }

  /** End the visit, if there is one, and say why. */
  #end(sentence) {
    this.#turn++;
    const visit = this.#visit;
    if (!visit) return;
    this.#visit = null;
    visit.rest();
    visit.line.close();
    visit.view.end();
    visit.source.stop();
    visit.view.stage.remove();
    this.#said.textContent = sentence;
    this.#which.replaceChildren();
    this.#show();
  }

  /** Nobody looks: after a while, give camera and place back. */
  #rest() {
    const visit = this.#visit;
    if (!visit) return;
    const seen = !document.hidden && this.checkVisibility();
    visit.unseen = seen ? null : (visit.unseen ?? performance.now());
    if (visit.unseen !== null && performance.now() - visit.unseen > UNSEEN_MS)
      this.#end("Stopped, because this tab was left.");
  }

  #chosen() {
    const [file] = this.#file.files;
    this.#file.value = ""; // so that the same one may be chosen again
    if (file) this.#start(() => openFile(file));
  }

  #over(event) {
    event.preventDefault();
    this.classList.add("aw-try-drop");
  }

  #dropped(event) {
    event.preventDefault();
    this.classList.remove("aw-try-drop");
    const [file] = event.dataTransfer.files;
    if (file) this.#start(() => openFile(file));
  }
}

customElements.define("aw-try", Try);
