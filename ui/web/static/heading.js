// <aw-heading>: the model in use, the current user and the logout.
import { request, base, button, currentUser, node, ownStyle } from "./api.js";

const RETRY_MS = 3000;

class Heading extends HTMLElement {
  connectedCallback() {
    ownStyle(this);
    this.replaceChildren(node("h1", {}, "Actionwatch"));
    this.#load();
  }

  async #load() {
    let user;
    try {
      user = await currentUser();
    } catch {
      if (this.isConnected) setTimeout(() => this.#load(), RETRY_MS);
      return;
    }
    this.append(node("span", { class: "aw-model" }, `model ${user.model}`));
    if (!user.login_required) return;
    const logOut = async () => {
      await request("POST", "logout");
      location.assign(new URL("login", base));
    };
    this.append(node("span", { class: "aw-user" }, user.name), button("Log out", logOut));
  }
}

customElements.define("aw-heading", Heading);
