// <aw-heading>: what is watched with, and who looks on.
import { ask, base, button, me, node, ownStyle } from "./api.js";

const RETRY_MS = 3000; // until the server is back

class Heading extends HTMLElement {
  connectedCallback() {
    ownStyle(this);
    this.replaceChildren(node("h1", {}, "Actionwatch"));
    this.#tell();
  }

  async #tell() {
    let who;
    try {
      who = await me();
    } catch {
      if (this.isConnected) setTimeout(() => this.#tell(), RETRY_MS);
      return;
    }
    this.append(node("span", { class: "aw-model" }, `model ${who.model}`));
    if (!who.login) return;
    const leave = async () => {
      await ask("POST", "logout");
      location.assign(new URL("login", base));
    };
    this.append(node("span", { class: "aw-who" }, who.name), button("Log out", leave));
  }
}

customElements.define("aw-heading", Heading);
