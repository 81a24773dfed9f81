// <aw-configuration>: view, check and edit the configuration file of the run.
import { request, button, get, currentUser, node, ownStyle } from "../api.js";

class Configuration extends HTMLElement {
  async connectedCallback() {
    ownStyle(this);
    let user;
    try {
      user = await currentUser();
    } catch (error) {
      const retry = button("Retry", () => this.connectedCallback());
      const message = node("p", { class: "aw-error", role: "alert" }, sentence(error.message));
      this.replaceChildren(message, retry);
      return;
    }
    if (!user.may_change) {
      this.replaceChildren(node("p", {}, OPERATORS_ONLY));
      return;
    }
    this.#layOut();
    await this.#load();
  }

  #layOut() {
    this.about = node("p", {});
    this.flags = node("p", { class: "aw-subdued" });
    this.error = node("p", { class: "aw-error", role: "alert" });
    this.result = node("div", { class: "aw-config-result", role: "status" });
    this.text = node("textarea", {
      class: "aw-config-text",
      rows: 24,
      spellcheck: "false",
      autocapitalize: "off",
      autocomplete: "off",
      wrap: "off",
      input: () => this.#clearMessages(),
    });
    const busy = (action) => () => this.#whileBusy(action);
    this.buttons = node(
      "div",
      { class: "aw-row" },
      button(
        "Save and apply",
        busy(() => this.#save()),
        { class: "aw-primary" },
      ),
      button(
        "Check",
        busy(() => this.#check()),
      ),
      button(
        "Reload file",
        busy(() => this.#reload()),
      ),
    );
    this.editor = node(
      "div",
      {},
      node("label", { class: "aw-field" }, "Configuration file", this.text),
      this.buttons,
    );
    this.replaceChildren(this.about, this.flags, this.editor, this.error, this.result);
    this.editor.hidden = true;
  }

  async #whileBusy(action) {
    for (const control of this.buttons.children) control.disabled = true;
    this.error.textContent = "";
    this.result.replaceChildren();
    try {
      await action();
    } catch (error) {
      this.error.textContent = sentence(error.message);
    } finally {
      for (const control of this.buttons.children) control.disabled = false;
    }
  }

  async #load() {
    await this.#whileBusy(async () => {
      const { file, folder, text, version, flags } = await get("api/configuration");
      this.version = version;
      this.text.value = this.loaded = text;
      this.editor.hidden = !file;
      this.about.replaceChildren(
        ...(file
          ? [
              "File: ",
              node("code", {}, `${folder}/${file}`),
              ". Saving keeps a backup of the old version next to it.",
            ]
          : [NO_FILE]),
      );
      this.flags.textContent = flags.length ? flagsText(flags) : "";
    });
  }

  #clearMessages() {
    this.result.replaceChildren();
    this.error.textContent = "";
  }

  async #check() {
    const result = await request("POST", "api/configuration/check", { text: this.text.value });
    this.#showResult("Valid. Nothing was changed yet.", "Can be applied at once", result);
  }

  async #save() {
    const result = await request("PUT", "api/configuration", {
      text: this.text.value,
      version: this.version,
    });
    this.version = result.version;
    this.loaded = this.text.value;
    this.#showResult("Saved.", "Applied", result);
  }

  async #reload() {
    const isEdited = this.text.value !== this.loaded;
    if (isEdited && !window.confirm("Discard unsaved changes and reload the file?")) return;
    const current = await get("api/configuration"); // first: an invalid file is shown, too
    this.text.value = this.loaded = current.text;
    this.version = current.version;
    this.#showResult(
      "File reloaded.",
      "Applied",
      await request("POST", "api/configuration/reload"),
    );
  }

  #showResult(title, appliedTitle, { applied, needs_restart: needsRestart }) {
    const parts = [node("p", {}, node("strong", {}, title))];
    if (applied.length) parts.push(node("p", {}, `${appliedTitle}:`), list(applied));
    if (needsRestart.length) parts.push(node("p", {}, "Requires a restart:"), list(needsRestart));
    if (!applied.length && !needsRestart.length)
      parts.push(node("p", {}, "No changes to the current configuration."));
    this.result.replaceChildren(...parts);
  }
}

const NO_FILE =
  "This run was started without a configuration file, so it can't be edited here. " +
  "Start it with a file, like: actionwatch run FILE";

const OPERATORS_ONLY =
  "Only operators may see the configuration, because it may contain passwords. " +
  "Log in as an operator.";

function flagsText(flags) {
  const [were, override] =
    flags.length > 1
      ? ["were set by CLI flags", "override"]
      : ["was set by a CLI flag", "overrides"];
  return `${flags.join(", ")} ${were} and ${override} this file.`;
}

function list(keys) {
  return node("ul", {}, ...keys.map((key) => node("li", {}, key)));
}

function sentence(text) {
  return `${text[0].toUpperCase()}${text.slice(1)}${text.endsWith(".") ? "" : "."}`;
}

customElements.define("aw-configuration", Configuration);
