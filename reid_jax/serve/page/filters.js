// Which images are meant: by camera, time, person and tag.

import { find, make } from "./elements.js";

const seconds = (value) => (value ? String(new Date(value).getTime() / 1000) : "");

export class Filters {
  // `prefix` begins the ids of the fields, of which a view has those that it needs.
  constructor(prefix, changed) {
    this.prefix = prefix;
    this.cameras = find(`${prefix}-cameras`);
    this.fields = ["since", "until", "person", "tag"].map((name) => [name, find(`${prefix}-${name}`)]);
    this.fields = this.fields.filter(([, field]) => field);
    this.cameras.addEventListener("change", changed);
    for (const [, field] of this.fields) field.addEventListener("change", changed);
    find(`${prefix}-clear`).addEventListener("click", () => {
      for (const box of this.boxes()) box.checked = false;
      for (const [, field] of this.fields) field.value = "";
      changed();
    });
  }

  boxes() {
    return [...this.cameras.querySelectorAll("input")];
  }

  // Offers the cameras that the gallery has, keeping what is chosen.
  offer(cameras) {
    const chosen = new Set(this.boxes().filter((box) => box.checked).map((box) => box.value));
    this.cameras.replaceChildren(
      ...cameras.map(({ name, images }) => {
        const box = make("input", { type: "checkbox", value: name });
        box.checked = chosen.has(name);
        const words = name || "unknown";
        return make("label", { class: "choice", title: `${images.toLocaleString("en")} images` }, box, make("span", {}, words));
      }),
    );
    this.cameras.parentElement.hidden = cameras.length < 2;
  }

  // Writes them into a form or a query.
  write(form) {
    for (const box of this.boxes()) if (box.checked) form.append("camera", box.value);
    for (const [name, field] of this.fields) {
      const value = field.type === "datetime-local" ? seconds(field.value) : field.value.trim();
      if (value) form.append(name, value);
    }
    find(`${this.prefix}-clear`).hidden = ![...form.keys()].some((key) => ["camera", ...this.fields.map(([name]) => name)].includes(key));
  }
}
