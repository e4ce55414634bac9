// The photos of the person who is looked for, and the box on each. A box is [left, top, right, bottom] as shares of the
// photo's sides, whatever the size on the screen.

import { find, make } from "./elements.js";

const WHOLE = [0, 0, 1, 1];
const SMALLEST = 0.02; // of a side: what is drawn smaller is a click
const STEP = 0.01;

const isWhole = (box) => box.every((side, index) => side === WHOLE[index]);
const within = (value, low, high) => Math.min(Math.max(value, low), high);

export class Photos {
  // `changed(how)` is called when photos come or go ("photos") or a box was drawn ("box").
  constructor(limits, changed, complain) {
    this.limits = limits;
    this.changed = changed;
    this.complain = complain;
    this.all = []; // {file, url, box, width, height}; width 0 where the browser cannot show it
    this.current = null;
    this.stage = find("stage");
    this.image = find("photo");
    this.box = find("box");
    this.another = make(
      "button",
      { type: "button", class: "plus", "aria-label": "Add another photo of this person", title: "Add another photo", onclick: () => find("file").click() },
      "+",
    );
    this.numbers = ["left", "top", "right", "bottom"].map((side) => find(`box-${side}`));
    this.stage.addEventListener("pointerdown", (event) => this.draw(event));
    this.box.addEventListener("keydown", (event) => this.steer(event));
    find("whole").addEventListener("click", () => {
      this.setBox(WHOLE);
      this.box.focus({ preventScroll: true });
    });
    for (const field of this.numbers) field.addEventListener("change", () => this.readNumbers());
  }

  async add(files) {
    let added = 0;
    for (const file of files) {
      if (this.all.length === this.limits.photos) {
        this.complain(`At most ${this.limits.photos} photos of one person are taken.`);
        break;
      }
      if (file.size > this.limits.photo_bytes) {
        this.complain(`${file.name} has more than ${Math.round(this.limits.photo_bytes / 1e6)} MB.`);
        continue;
      }
      const photo = { file, url: URL.createObjectURL(file), box: WHOLE, width: 0, height: 0 };
      await this.measure(photo);
      this.all.push(photo);
      this.current = photo;
      added += 1;
    }
    if (added) {
      this.show();
      this.changed("photos");
    }
  }

  measure(photo) {
    return new Promise((done) => {
      const image = new Image();
      image.onload = () => {
        photo.width = image.naturalWidth;
        photo.height = image.naturalHeight;
        done();
      };
      image.onerror = done; // TIFF, for one: the server reads it all the same, or says what is wrong
      image.src = photo.url;
    });
  }

  remove(photo) {
    URL.revokeObjectURL(photo.url);
    const place = this.all.indexOf(photo);
    this.all.splice(place, 1);
    this.current = this.all[Math.min(place, this.all.length - 1)] ?? null;
    this.show();
    this.changed("photos");
    (this.all.length ? find("photos").querySelector("[aria-pressed=true]") : find("pick")).focus();
  }

  // The form of a search: images, and the box of each in its own pixels ("" for the whole of it).
  write(form) {
    for (const photo of this.all) {
      const [left, top, right, bottom] = photo.box;
      const { width, height } = photo;
      const pixels = [left * width, top * height, right * width, bottom * height].map(Math.round);
      form.append("image", photo.file, photo.file.name);
      form.append("box", isWhole(photo.box) || !width ? "" : pixels.join(","));
    }
  }

  show() {
    const photo = this.current;
    find("start").hidden = photo !== null;
    find("chosen").hidden = photo === null;
    if (!photo) return;
    const shown = photo.width > 0;
    this.stage.hidden = !shown;
    find("boxing").hidden = !shown;
    find("unshown").hidden = shown;
    if (shown && this.image.src !== photo.url) this.image.src = photo.url;
    this.image.classList.toggle("small", photo.height < 280 && photo.width < photo.height);
    this.image.alt = `Photo ${photo.file.name}`;
    find("photos").replaceChildren(
      ...this.all.map((each, place) =>
        make(
          "li",
          {},
          make(
            "button",
            {
              type: "button",
              class: "show",
              "aria-pressed": String(each === photo),
              "aria-label": `Photo ${place + 1}, ${each.file.name}`,
              onclick: () => {
                this.current = each;
                this.show();
                find("photos").querySelectorAll(".show")[place].focus();
              },
            },
            each.width ? make("img", { src: each.url, alt: "" }) : "photo",
          ),
          make(
            "button",
            { type: "button", class: "remove", "aria-label": `Remove photo ${place + 1}`, onclick: () => this.remove(each) },
            "×",
          ),
        ),
      ),
    );
    if (this.all.length < this.limits.photos) find("photos").append(make("li", {}, this.another));
    this.place();
  }

  place() {
    const { box, width, height } = this.current;
    const [left, top, right, bottom] = box;
    Object.assign(this.box.style, {
      left: `${left * 100}%`,
      top: `${top * 100}%`,
      width: `${(right - left) * 100}%`,
      height: `${(bottom - top) * 100}%`,
    });
    this.box.classList.toggle("whole", isWhole(box));
    find("whole").hidden = isWhole(box);
    const sides = [left * width, top * height, right * width, bottom * height].map(Math.round);
    this.numbers.forEach((field, index) => {
      field.value = sides[index];
      field.max = index % 2 ? height : width;
    });
    const words = isWhole(box) ? "the whole photo" : `left ${sides[0]}, top ${sides[1]}, right ${sides[2]}, bottom ${sides[3]}`;
    this.box.setAttribute("aria-label", `Box around the person: ${words}`);
  }

  setBox(box) {
    this.current.box = box;
    this.place();
    this.changed("box");
  }

  readNumbers() {
    const { width, height } = this.current;
    const sides = this.numbers.map((field, index) => within(Number(field.value) / (index % 2 ? height : width), 0, 1));
    if (sides[2] <= sides[0] || sides[3] <= sides[1]) {
      this.complain("The box is empty: right must be beyond left, and bottom below top.");
      return;
    }
    this.setBox(sides);
  }

  // A drag draws a new box, moves the one it begins in, or pulls the corner it begins at.
  draw(event) {
    if (event.button) return;
    event.preventDefault();
    const frame = this.stage.getBoundingClientRect();
    const at = ({ clientX, clientY }) => [
      within((clientX - frame.left) / frame.width, 0, 1),
      within((clientY - frame.top) / frame.height, 0, 1),
    ];
    const before = this.current.box;
    const [x, y] = at(event);
    const grip = event.target.closest(".grip");
    const moving = !grip && event.target === this.box && !isWhole(before);
    const fixed = grip
      ? [grip.dataset.x === "left" ? before[2] : before[0], grip.dataset.y === "top" ? before[3] : before[1]]
      : [x, y];
    const boxAt = (to) => {
      if (!moving) {
        return [Math.min(fixed[0], to[0]), Math.min(fixed[1], to[1]), Math.max(fixed[0], to[0]), Math.max(fixed[1], to[1])];
      }
      const across = within(to[0] - x, -before[0], 1 - before[2]);
      const down = within(to[1] - y, -before[1], 1 - before[3]);
      return [before[0] + across, before[1] + down, before[2] + across, before[3] + down];
    };
    const large = (box) => box[2] - box[0] >= SMALLEST && box[3] - box[1] >= SMALLEST;
    const photo = this.current;
    const follow = (moved) => {
      const box = boxAt(at(moved));
      if (large(box)) photo.box = box;
      this.place();
    };
    const end = () => {
      this.stage.removeEventListener("pointermove", follow);
      this.stage.removeEventListener("pointerup", end);
      this.stage.removeEventListener("pointercancel", end);
      this.box.focus({ preventScroll: true });
      if (photo.box !== before) this.changed("box");
    };
    this.stage.setPointerCapture(event.pointerId);
    this.stage.addEventListener("pointermove", follow);
    this.stage.addEventListener("pointerup", end);
    this.stage.addEventListener("pointercancel", end);
  }

  // Arrows move the box; with Shift they pull its right and lower side.
  steer(event) {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.key === "Escape" && !isWhole(this.current.box)) this.setBox(WHOLE);
    if (!way) return;
    event.preventDefault();
    const box = [...this.current.box];
    for (const axis of [0, 1]) {
      const step = way[axis] * STEP * (event.altKey ? 5 : 1);
      if (event.shiftKey) {
        box[axis + 2] = within(box[axis + 2] + step, box[axis] + SMALLEST, 1);
      } else {
        const inside = within(step, -box[axis], 1 - box[axis + 2]);
        box[axis] += inside;
        box[axis + 2] += inside;
      }
    }
    this.setBox(box);
  }
}

// Files that were dropped on `place`, or pasted anywhere, go to `take`.
export function takeDrops(place, take) {
  const entered = (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    place.classList.add("over");
  };
  place.addEventListener("dragenter", entered);
  place.addEventListener("dragover", entered);
  place.addEventListener("dragleave", (event) => {
    if (!place.contains(event.relatedTarget)) place.classList.remove("over");
  });
  place.addEventListener("drop", (event) => {
    event.preventDefault();
    place.classList.remove("over");
    take(event.dataTransfer);
  });
}
