import { inBytes, kindOf } from "../attachments.js";
import { inWords, post } from "../post.js";
import { makeUuid } from "../uuid.js";

const THUMBNAIL = 128; // pixels
const AT_ONCE = 3; // uploads side by side; the others wait

const BROKEN_OFF = "did not arrive. Remove it, and add it again.";

// <composer-files url="/uploads/" limit="100000000" most="10"> with .attachments, a template for one, and a file input
//
// The files of the message that is being written: picked, pasted or dropped anywhere on the page. Each goes to the server
// at once. Events: `files-changed`, and `files-problem` (detail: a sentence).
export class ComposerFiles extends HTMLElement {
  #files = [];
  #isOffered = false;
  #depth = 0;

  connectedCallback() {
    this.#input.addEventListener("change", () => this.#picked());
    this.#list.addEventListener("click", (event) => this.#clicked(event));
    document.addEventListener("click", this.#used);
    document.addEventListener("paste", this.#pasted);
    document.addEventListener("dragenter", this.#entered);
    document.addEventListener("dragleave", this.#left);
    document.addEventListener("dragover", this.#over);
    document.addEventListener("drop", this.#dropped);
  }

  disconnectedCallback() {
    document.removeEventListener("click", this.#used);
    document.removeEventListener("paste", this.#pasted);
    document.removeEventListener("dragenter", this.#entered);
    document.removeEventListener("dragleave", this.#left);
    document.removeEventListener("dragover", this.#over);
    document.removeEventListener("drop", this.#dropped);
  }

  /** The files as they are sent and remembered: `{id, name, size, kind, thumbnail}`. */
  get files() {
    const there = this.#files.filter(({ id }) => id);
    return there.map(({ id, name, size, kind, thumbnail }) => ({ id, name, size, kind, thumbnail }));
  }

  /** All of them, those that are on their way, too. */
  get all() {
    return this.#files;
  }

  get isBusy() {
    return this.#files.some(({ id, problem }) => !id && !problem);
  }

  get hasProblem() {
    return this.#files.some(({ problem }) => problem);
  }

  /** Whether this person may add no files at all. */
  get isClosed() {
    return this.hasAttribute("closed");
  }

  /** Say which files may be picked, as an `accept` attribute has it; null means none. */
  offer(accept) {
    this.#isOffered = accept !== null && !this.isClosed;
    this.#input.accept = accept ?? "";
  }

  /** Have the browser's own dialog open. */
  pick() {
    this.#input.click();
  }

  /** Show files that are on the server already. */
  restore(files) {
    for (const file of files.slice(0, this.most)) {
      this.#files.push({ ...file, key: makeUuid() });
    }
    this.#show();
  }

  /** Let go of all files: they are somebody else's now. */
  clear() {
    this.#files = [];
    this.#show();
  }

  /** @param {Iterable<File>} picked */
  add(picked) {
    const limit = Number(this.getAttribute("limit"));
    for (const file of picked) {
      if (this.#files.length >= this.most) {
        this.#tell(`One message takes ${this.most} files. The others were left out.`);
        break;
      }
      if (file.size > limit) {
        this.#tell(`“${file.name}” is larger than ${inBytes(limit)}, which is the most that this site takes.`);
      } else if (file.size === 0) {
        this.#tell(`“${file.name}” is empty. Choose another file.`);
      } else {
        this.#begin(file);
      }
    }
  }

  #begin(file) {
    const { name, size, type } = file;
    const added = {
      key: makeUuid(),
      id: "",
      name: name || "file",
      size,
      kind: kindOf(type),
      progress: 0,
      content: file,
    };
    this.#files.push(added);
    this.#show();
    this.#uploadNext();
    if (added.kind === "image") {
      this.#makeThumbnail(added, file);
    }
  }

  #uploadNext() {
    const running = this.#files.filter(({ request }) => request).length;
    const waiting = this.#files.filter(({ content, request }) => content && !request);
    for (const file of waiting.slice(0, AT_ONCE - running)) {
      this.#upload(file);
    }
  }

  // `fetch` does not tell how much of a body has gone.
  #upload(file) {
    const request = new XMLHttpRequest();
    file.request = request;
    request.open("POST", this.getAttribute("url"));
    request.responseType = "json";
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.setRequestHeader("X-CSRFToken", this.#token);
    request.setRequestHeader("X-File-Name", encodeURIComponent(file.name.toWellFormed?.() ?? file.name));
    request.upload.addEventListener("progress", ({ loaded, total }) => this.#progress(file, loaded / total));
    request.addEventListener("loadend", () => this.#loaded(file, request));
    request.send(file.content);
  }

  #progress(file, share) {
    file.progress = share;
    const bar = this.#item(file)?.querySelector("progress");
    if (bar) {
      bar.value = share;
    }
  }

  #loaded(file, request) {
    file.request = null;
    file.content = null;
    if (request.status === 201 && request.response?.id) {
      Object.assign(file, request.response);
    } else {
      const isRefused = request.response || request.status === 403;
      file.problem = isRefused ? inWords(request.response, request.status) : `“${file.name}” ${BROKEN_OFF}`;
    }
    if (this.#files.includes(file)) {
      this.#show();
      if (file.problem) {
        this.#tell(file.problem);
      }
    } else if (file.id) {
      this.#forget(file); // it was removed meanwhile
    }
    this.#uploadNext();
  }

  async #makeThumbnail(added, file) {
    try {
      const image = await createImageBitmap(file);
      const canvas = document.createElement("canvas");
      const side = Math.min(image.width, image.height);
      const [left, top] = [(image.width - side) / 2, (image.height - side) / 2];
      canvas.width = canvas.height = THUMBNAIL;
      canvas.getContext("2d").drawImage(image, left, top, side, side, 0, 0, THUMBNAIL, THUMBNAIL);
      image.close();
      // An address of an object would need a hole in the CSP.
      added.thumbnail = canvas.toDataURL("image/webp", 0.7);
    } catch {
      return; // no image that this browser knows
    }
    this.#show();
  }

  #remove(file) {
    this.#files = this.#files.filter((each) => each !== file);
    if (file.request) {
      file.request.abort();
    } else if (file.id) {
      this.#forget(file);
    }
    this.#show();
  }

  /** Have the server let go of a file; if it does not hear it, it does so by itself after a day. */
  #forget({ id }) {
    const url = `${this.getAttribute("url")}${id}/remove/`;
    fetch(url, { method: "POST", headers: { "X-CSRFToken": this.#token } }).catch(() => {});
  }

  // What is on the page

  #show() {
    const items = this.#files.map((file) => this.#item(file) ?? this.#makeItem(file));
    for (const [place, item] of items.entries()) {
      this.#fill(item, this.#files[place]);
    }
    const focused = this.#list.contains(document.activeElement);
    this.#list.replaceChildren(...items);
    this.#list.hidden = items.length === 0;
    if (focused && !this.#list.contains(document.activeElement)) {
      (this.#list.querySelector("button") ?? this.closest("form").querySelector("textarea")).focus();
    }
    this.dispatchEvent(new CustomEvent("files-changed", { bubbles: true }));
  }

  #makeItem(file) {
    const item = this.querySelector("template").content.firstElementChild.cloneNode(true);
    item.dataset.key = file.key;
    return item;
  }

  #fill(item, file) {
    const image = item.querySelector("img");
    const isWaiting = !file.id && !file.problem;
    image.hidden = !file.thumbnail;
    if (file.thumbnail && image.src !== file.thumbnail) {
      image.src = file.thumbnail;
    }
    item.classList.toggle("attachment--image", Boolean(file.thumbnail));
    item.classList.toggle("attachment--problem", Boolean(file.problem));
    item.querySelector(".attachment__name").textContent = file.name;
    item.querySelector(".attachment__state").textContent = file.problem ? "Did not arrive" : inBytes(file.size);
    item.querySelector("[data-name]").textContent = file.name;
    item.title = file.problem ?? file.name;
    const bar = item.querySelector("progress");
    bar.hidden = !isWaiting;
    bar.value = file.progress ?? 0;
    bar.ariaLabel = `${file.name} is on its way`;
  }

  #tell(sentence) {
    this.dispatchEvent(new CustomEvent("files-problem", { bubbles: true, detail: sentence }));
  }

  // What people do

  #picked() {
    this.add([...this.#input.files]);
    this.#input.value = "";
  }

  #clicked({ target }) {
    const item = target.closest("[data-remove]")?.closest("[data-key]");
    const file = this.#files.find(({ key }) => key === item?.dataset.key);
    if (file) {
      this.#remove(file);
    }
  }

  /** Add a file of an earlier message, which the server has already. */
  #used = async ({ target }) => {
    const button = target.closest("[data-use]");
    if (!button || button.ariaBusy === "true" || !this.#takes({ target: null })) {
      return;
    }
    if (this.#files.length >= this.most) {
      this.#tell(`One message takes ${this.most} files.`);
      return;
    }
    button.ariaBusy = "true";
    const fields = new FormData();
    fields.set("csrfmiddlewaretoken", this.#token);
    const { body, problem } = await post(button.dataset.use, fields);
    button.ariaBusy = null;
    if (problem) {
      this.#tell(problem);
    } else {
      this.restore([{ ...body, thumbnail: button.dataset.image }]);
      this.closest("form").querySelector("textarea").focus();
    }
  };

  #pasted = (event) => {
    const { files, types } = event.clipboardData ?? { files: [] };
    // What was copied out of a text has its picture beside it.
    if (files.length && !types.includes("text/plain") && this.#takes(event)) {
      event.preventDefault();
      this.add([...files]);
    }
  };

  #takes({ target }) {
    const isElsewhere = target instanceof Element && target.closest("input, textarea, dialog, [contenteditable]");
    const isHere = !isElsewhere || this.closest("form").contains(target);
    if (isHere && !this.#isOffered) {
      this.#tell("The chosen model takes no files. Choose another one to add some.");
    }
    return isHere && this.#isOffered;
  }

  // Each element under the pointer is entered and left; what counts is the page.
  #entered = (event) => {
    if (this.#hasFiles(event)) {
      this.#depth += 1;
      this.#zone.hidden = !this.#isOffered;
    }
  };

  #left = (event) => {
    if (this.#hasFiles(event)) {
      this.#depth = Math.max(this.#depth - 1, 0);
      this.#zone.hidden ||= this.#depth === 0;
    }
  };

  #over = (event) => {
    if (this.#hasFiles(event)) {
      event.preventDefault(); // otherwise the browser leaves the page for the file
      event.dataTransfer.dropEffect = this.#isOffered ? "copy" : "none";
    }
  };

  #dropped = (event) => {
    if (this.#hasFiles(event)) {
      event.preventDefault();
      this.#depth = 0;
      this.#zone.hidden = true;
      if (this.#takes({ target: null })) {
        this.add([...event.dataTransfer.files]);
      }
    }
  };

  #hasFiles({ dataTransfer }) {
    return dataTransfer?.types.includes("Files") ?? false;
  }

  #item({ key }) {
    return this.#list.querySelector(`[data-key="${key}"]`);
  }

  /** How many files one message takes. */
  get most() {
    return Number(this.getAttribute("most"));
  }

  get #token() {
    return this.closest("form").querySelector("[name=csrfmiddlewaretoken]").value;
  }

  get #list() {
    return this.querySelector(".attachments");
  }

  get #input() {
    return this.querySelector("input[type=file]");
  }

  get #zone() {
    return this.querySelector(".drop-zone");
  }
}

customElements.define("composer-files", ComposerFiles);
