// <aw-configuration>: the file that the watch was started with, to be read, checked and changed.
import { ask, button, get, me, node, ownStyle } from "../api.js";

class Configuration extends HTMLElement {
  async connectedCallback() {
    ownStyle(this);
    let who;
    try {
      who = await me();
    } catch (error) {
      const again = button("Try again", () => this.connectedCallback());
      const problem = node("p", { class: "aw-problem", role: "alert" }, sentence(error.message));
      this.replaceChildren(problem, again);
      return;
    }
    if (!who.may_change) {
      this.replaceChildren(node("p", {}, notForViewers));
      return;
    }
    this.#lay();
    await this.#load();
  }

  #lay() {
    this.about = node("p", {});
    this.flags = node("p", { class: "aw-quiet" });
    this.problem = node("p", { class: "aw-problem", role: "alert" });
    this.outcome = node("div", { class: "aw-config-outcome", role: "status" });
    this.text = node("textarea", {
      class: "aw-config-text",
      rows: 24,
      spellcheck: "false",
      autocapitalize: "off",
      autocomplete: "off",
      wrap: "off",
      input: () => this.#edited(),
    });
    const during = (work) => () => this.#during(work);
    this.buttons = node(
      "div",
      { class: "aw-row" },
      button(
        "Save and apply",
        during(() => this.#save()),
        { class: "aw-main" },
      ),
      button(
        "Check",
        during(() => this.#check()),
      ),
      button(
        "Read the file again",
        during(() => this.#reload()),
      ),
    );
    this.editor = node(
      "div",
      {},
      node("label", { class: "aw-field" }, "Text of the file", this.text),
      this.buttons,
    );
    this.replaceChildren(this.about, this.flags, this.editor, this.problem, this.outcome);
    this.editor.hidden = true;
  }

  async #during(work) {
    for (const one of this.buttons.children) one.disabled = true;
    this.problem.textContent = "";
    this.outcome.replaceChildren();
    try {
      await work();
    } catch (error) {
      this.problem.textContent = sentence(error.message);
    } finally {
      for (const one of this.buttons.children) one.disabled = false;
    }
  }

  async #load() {
    await this.#during(async () => {
      const { file, folder, text, version, flags } = await get("api/configuration");
      this.version = version;
      this.text.value = this.loaded = text;
      this.editor.hidden = !file;
      this.about.replaceChildren(
        ...(file
          ? [
              "This is ",
              node("code", {}, `${folder}/${file}`),
              ". What it replaces is kept beside it.",
            ]
          : [noFile]),
      );
      this.flags.textContent = flags.length ? given(flags) : "";
    });
  }

  #edited() {
    this.outcome.replaceChildren();
    this.problem.textContent = "";
  }

  async #check() {
    const outcome = await ask("POST", "api/configuration/check", { text: this.text.value });
    this.#tell("It can be used. Nothing was changed yet.", "Would hold at once", outcome);
  }

  async #save() {
    const outcome = await ask("PUT", "api/configuration", {
      text: this.text.value,
      version: this.version,
    });
    this.version = outcome.version;
    this.loaded = this.text.value;
    this.#tell("Saved.", "Holds from now on", outcome);
  }

  async #reload() {
    const isEdited = this.text.value !== this.loaded;
    if (
      isEdited &&
      !window.confirm("What you have changed here and not saved will be lost. Read the file again?")
    )
      return;
    const current = await get("api/configuration"); // first: a file that is refused is to be seen
    this.text.value = this.loaded = current.text;
    this.version = current.version;
    this.#tell(
      "The file was read again.",
      "Holds from now on",
      await ask("POST", "api/configuration/reload"),
    );
  }

  #tell(first, atOnce, { applied, needs_restart: waiting }) {
    const said = [node("p", {}, node("strong", {}, first))];
    if (applied.length) said.push(node("p", {}, `${atOnce}:`), list(applied));
    if (waiting.length)
      said.push(node("p", {}, "Only after Actionwatch is started again:"), list(waiting));
    if (!applied.length && !waiting.length)
      said.push(node("p", {}, "Nothing in it is different from what is in force."));
    this.outcome.replaceChildren(...said);
  }
}

const noFile =
  "This watch was started without a configuration file, so there is nothing to change here. " +
  "Start it with one, like: actionwatch run watch.yaml";

const notForViewers =
  "Only operators may see the configuration, because it may hold passwords. Ask one of them, or " +
  "log in as one.";

function given(flags) {
  const [were, win] =
    flags.length > 1 ? ["were given as flags", "win"] : ["was given as a flag", "wins"];
  const names = flags.join(", ");
  return `${names} ${were} when the watch was started, which ${win} over what is written here.`;
}

function list(keys) {
  return node("ul", {}, ...keys.map((key) => node("li", {}, key)));
}

function sentence(text) {
  return `${text[0].toUpperCase()}${text.slice(1)}${text.endsWith(".") ? "" : "."}`;
}

customElements.define("aw-configuration", Configuration);
