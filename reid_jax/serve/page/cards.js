// Cards of the gallery's images, the dialog with all that is known of one, and erasing those that are picked.

import { sendJson } from "./calls.js";
import { count, distance, find, make, showMessage } from "./elements.js";

export function timeWords(seconds) {
  const time = new Date(seconds * 1000);
  return time.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

// Shorter, on a card.
function shortTime(seconds) {
  const time = new Date(seconds * 1000);
  const year = time.getFullYear() === new Date().getFullYear() ? {} : { year: "numeric" };
  return time.toLocaleString(undefined, { ...year, day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
}

const cropOf = (image, alt) =>
  image.crop
    ? make("img", { class: "crop", src: image.crop, alt, loading: "lazy", decoding: "async" })
    : make("span", { class: "crop lacking" }, "no crop kept");

function factsOf(image) {
  const facts = { Person: image.person, Camera: image.camera, Time: image.time === null ? "" : timeWords(image.time) };
  return { ...facts, Tags: image.tags.join(", "), Name: image.source, Number: String(image.id) };
}

function spoken(image) {
  const known = [image.person, image.camera && `camera ${image.camera}`, image.time !== null && timeWords(image.time)];
  const words = known.filter(Boolean).join(", ") || image.source;
  return image.distance === undefined ? words : `distance ${distance(image.distance)}, ${words}`;
}

export class Cards {
  // `use(image)` searches with an image of the gallery; `erased()` is called when some are gone.
  constructor(use, erased) {
    this.use = use;
    this.erased = erased;
    this.picked = new Map();
    this.opener = null;
    find("unpick").addEventListener("click", () => this.unpick());
    find("erase").addEventListener("click", () => this.ask({ ids: [...this.picked.keys()] }, [...this.picked.values()]));
    for (const dialog of [find("detail"), find("sure")]) {
      dialog.querySelector("[data-close]").addEventListener("click", () => dialog.close());
      dialog.addEventListener("click", (event) => {
        if (event.target === dialog) dialog.close(); // the backdrop
      });
    }
  }

  card(image) {
    const pick = make("input", {
      type: "checkbox",
      "aria-label": `Pick ${spoken(image)}`,
      onchange: (event) => this.pick(image, event.target.checked),
    });
    pick.checked = this.picked.has(image.id);
    const facts = make("div", { class: "facts" });
    if (image.distance !== undefined) facts.append(make("span", { class: "distance" }, distance(image.distance)));
    if (image.person) facts.append(make("span", { class: "person", title: image.person }, image.person));
    if (image.camera) facts.append(make("span", { title: image.camera }, `Camera ${image.camera}`));
    if (image.time !== null) facts.append(make("span", { class: "quieter time", title: timeWords(image.time) }, shortTime(image.time)));
    if (!image.person && !image.camera) {
      facts.append(make("span", { class: "quieter", title: image.source }, image.source.split("/").pop()));
    }
    if (image.tags.length) {
      facts.append(make("span", { class: "tags" }, ...image.tags.slice(0, 3).map((tag) => make("span", {}, tag))));
    }
    const open = make(
      "button",
      { type: "button", class: "open", "aria-label": `Open ${spoken(image)}`, onclick: () => this.open(image) },
      cropOf(image, ""),
    );
    return make("li", { class: "card", "data-id": image.id }, open, make("span", { class: "pick" }, pick), facts);
  }

  open(image) {
    const dialog = find("detail");
    find("detail-title").textContent = image.person || image.source;
    const terms = Object.entries(factsOf(image)).filter(([, value]) => value);
    if (image.distance !== undefined) terms.unshift(["Distance", distance(image.distance)]);
    find("detail-body").replaceChildren(
      cropOf(image, `Image ${image.source}`),
      make("dl", {}, ...terms.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)])),
    );
    find("detail-use").hidden = !image.crop;
    find("detail-use").onclick = () => {
      dialog.close();
      this.use(image);
    };
    find("detail-erase").onclick = () => {
      dialog.close();
      this.ask({ ids: [image.id] }, [image]);
    };
    find("detail-person").hidden = !image.person;
    find("detail-person").onclick = () => {
      dialog.close();
      this.ask({ people: [image.person] }, [image], `every image of ${image.person}`);
    };
    dialog.showModal();
  }

  pick(image, on) {
    if (on) this.picked.set(image.id, image);
    else this.picked.delete(image.id);
    this.showPicked();
  }

  unpick() {
    this.picked.clear();
    for (const box of document.querySelectorAll(".pick input")) box.checked = false;
    this.showPicked();
  }

  showPicked() {
    const number = this.picked.size;
    find("picked").hidden = !number;
    find("picked-count").textContent = `${count(number, "image", "images")} picked`;
  }

  // Asks before anything is erased; `what` says it in words where it is more than the images shown.
  ask(where, images, what = count(images.length, "image", "images")) {
    const dialog = find("sure");
    find("sure-title").textContent = `Erase ${what}?`;
    find("sure-images").replaceChildren(
      ...images.slice(0, 12).filter((image) => image.crop).map((image) => make("img", { src: image.crop, alt: "" })),
    );
    find("sure-message").hidden = true;
    const go = find("sure-erase");
    go.disabled = false;
    go.onclick = async () => {
      go.disabled = true;
      try {
        const { erased } = await sendJson("/api/erase", where);
        dialog.close();
        this.unpick();
        find("told").textContent = `${count(erased, "image was", "images were")} erased.`;
        find("main").focus({ preventScroll: true }); // what was focused before is gone
        this.erased();
      } catch (error) {
        showMessage(find("sure-message"), error.message);
        go.disabled = false;
      }
    };
    dialog.showModal();
    dialog.querySelector("[data-close]").focus();
  }
}
