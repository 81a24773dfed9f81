// <aw-heading>: what is watched with, and who looks on.
import { ask, base, button, me, node, ownStyle } from "./api.js";

class Heading extends HTMLElement {
  async connectedCallback() {
    ownStyle(this);
    this.replaceChildren(node("h1", {}, "Actionwatch"));
    const who = await me();
    this.append(node("span", { class: "aw-model" }, `model ${who.model}`));
    if (!who.login) return;
    const leave = async () => {
      await ask("POST", "logout");
      location.assign(new URL("login", base));
    };
    this.append(
      node("span", { class: "aw-who" }, who.name),
      button("Log out", leave),
    );
  }
}

customElements.define("aw-heading", Heading);
