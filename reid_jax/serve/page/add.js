// Adding: files and folders go up a few at a time, and each few is in the gallery before the next go; a zip goes up
// whole, and the server tells how far it is.

import { call, callPatiently, wait } from "./calls.js";
import { count, find, make, showMessage } from "./elements.js";
import { takeDrops } from "./photo.js";

const LOOK_AGAIN = 0.5; // seconds
const PIECE = 4_000_000; // bytes of several images in one request, which a slow line sends in a minute

export class Add {
  constructor(status, added) {
    this.limits = status.limits;
    this.kinds = status.kinds;
    this.added = added;
    this.stopping = null;
    find("add-files").addEventListener("click", () => find("add-file").click());
    find("add-folder").addEventListener("click", () => find("add-directory").click());
    for (const field of [find("add-file"), find("add-directory")]) {
      field.addEventListener("change", () => {
        this.start([...field.files].map((file) => ({ file, source: file.webkitRelativePath || file.name })));
        field.value = "";
      });
    }
    takeDrops(find("add"), async (data) => this.start(await filesOf(data)));
    find("add-stop").addEventListener("click", () => this.stopping?.abort());
  }

  isImage(name) {
    return this.kinds.some((kind) => name.toLowerCase().endsWith(kind)) && !name.split("/").some((part) => part.startsWith("."));
  }

  async start(files) {
    if (this.stopping || !files.length) return;
    const stopping = new AbortController();
    this.stopping = stopping;
    this.result = { done: 0, total: 0, new: 0, known: 0, refused: [] };
    find("add-message").hidden = true;
    find("add-progress").hidden = false;
    find("add-stop").hidden = false;
    find("add-choose").disabled = true;
    try {
      const zips = files.filter(({ source }) => source.toLowerCase().endsWith(".zip"));
      const images = files.filter(({ source }) => this.isImage(source));
      if (!zips.length && !images.length) throw new Error("None of these files is an image by its name, nor a zip.");
      if (images.length) await this.addImages(images, stopping.signal);
      for (const zip of zips) await this.addZip(zip.file, stopping.signal);
      this.show("Done");
    } catch (error) {
      this.show("Stopped");
      const kept = " What was added before is kept; the same files can be added again, and only what is missing is.";
      showMessage(find("add-message"), error.name === "AbortError" ? `Stopped.${kept}` : `${error.message}.${kept}`.replace("..", "."));
    }
    this.stopping = null;
    find("add-stop").hidden = true;
    find("add-choose").disabled = false;
    this.added();
  }

  // The fields that go with every image.
  form() {
    const form = new FormData();
    for (const name of ["camera", "person"]) {
      const value = find(`add-${name}`).value.trim();
      if (value) form.append(name, value);
    }
    const time = find("add-time").value;
    if (time) form.append("time", new Date(time).getTime() / 1000);
    for (const tag of find("add-tags").value.split(",")) if (tag.trim()) form.append("tag", tag.trim());
    form.append("folders", find("add-folders").value);
    return form;
  }

  async addImages(images, signal) {
    const known = { ...this.result, total: images.length };
    let next = 0;
    while (next < images.length) {
      const form = this.form();
      let bytes = 0;
      const first = next;
      while (next < images.length && next - first < this.limits.images) {
        bytes += images[next].file.size;
        if (next > first && bytes > PIECE) break;
        form.append("image", images[next].file, "image");
        form.append("source", images[next].source);
        next += 1;
      }
      const found = await callPatiently("/api/images", { method: "POST", body: form, signal });
      known.done = next;
      known.new += found.new.length;
      known.known += found.known;
      known.refused.push(...found.refused);
      this.result = known;
      this.show("Adding");
    }
  }

  async addZip(file, signal) {
    if (file.size > this.limits.archive_bytes) {
      throw new Error(`${file.name} has more than ${Math.round(this.limits.archive_bytes / 1e6)} MB; add the folder instead`);
    }
    const form = this.form();
    form.append("archive", file, file.name);
    find("add-words").textContent = `Sending ${file.name}…`;
    find("add-bar").removeAttribute("value");
    let state = await callPatiently("/api/archives", { method: "POST", body: form, signal });
    const address = `/api/archives/${state.id}`;
    try {
      while (state.state === "waiting" || state.state === "adding") {
        this.result = state;
        this.show("Adding");
        await wait(LOOK_AGAIN, signal);
        state = await callPatiently(address, { signal });
      }
    } catch (error) {
      if (error.name === "AbortError") this.result = await call(address, { method: "DELETE" });
      throw error;
    }
    this.result = state;
    if (state.state !== "done") throw new Error(state.error || "the server stopped adding");
  }

  show(how) {
    const { done, total, refused } = this.result;
    const bar = find("add-bar");
    if (total) {
      bar.max = total;
      bar.value = done;
    }
    const parts = [`${this.result.new.toLocaleString("en")} new`, `${this.result.known.toLocaleString("en")} already there`];
    if (refused.length) parts.push(`${refused.length.toLocaleString("en")} refused`);
    find("add-words").textContent = `${how}: ${done.toLocaleString("en")} of ${count(total, "image", "images")} (${parts.join(", ")})`;
    find("add-refused").replaceChildren(...refused.slice(0, 100).map(({ source, reason }) => make("li", {}, `${source}: ${reason}`)));
    find("add-refused").hidden = !refused.length;
    const tenth = total ? Math.floor((10 * done) / total) : 0;
    if (how !== "Adding" || tenth !== this.tenth) find("told").textContent = find("add-words").textContent;
    this.tenth = tenth;
  }
}

// The files that were dropped, those in dropped folders too: [{file, source}].
async function filesOf(data) {
  const found = [];
  const read = async (entry, above) => {
    const source = above ? `${above}/${entry.name}` : entry.name;
    if (entry.isFile) {
      found.push({ file: await new Promise((done, failed) => entry.file(done, failed)), source });
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((done, failed) => reader.readEntries(done, failed));
      if (!some.length) return;
      for (const each of some) await read(each, source);
    }
  };
  // The list of items is gone after the first wait.
  const entries = [...data.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...data.files].map((file) => ({ file, source: file.name }));
  for (const entry of entries) await read(entry, "");
  return found;
}
