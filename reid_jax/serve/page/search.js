// The search: photos in, an answer out, and what is farther than the threshold set apart.

import { callPatiently } from "./calls.js";
import { count, distance, find, make, settled, showMessage } from "./elements.js";
import { Filters } from "./filters.js";
import { Photos, takeDrops } from "./photo.js";
import { Threshold } from "./threshold.js";

const TOP = 60;

export class Search {
  constructor(status, cards) {
    this.cards = cards;
    this.found = null;
    this.made = []; // [match, its card]: made once, and moved as the threshold moves
    this.running = null;
    const soon = settled(() => this.search(), 350);
    this.filters = new Filters("search", soon);
    this.photos = new Photos(
      status.limits,
      (how) => (how === "photos" ? this.search() : soon()),
      (text) => showMessage(find("search-message"), text),
    );
    const announce = settled(() => this.announce(), 600);
    this.threshold = new Threshold(status.thresholds, () => {
      this.show();
      announce();
    });
    find("pick").addEventListener("click", () => find("file").click());
    find("by-person").addEventListener("change", soon);
    find("file").addEventListener("change", (event) => {
      this.take([...event.target.files]);
      event.target.value = "";
    });
    takeDrops(find("search"), (data) => this.take([...data.files]));
    document.addEventListener("paste", (event) => {
      const files = [...event.clipboardData.files];
      if (files.length && !find("search").hidden) this.take(files);
    });
  }

  update(status) {
    this.filters.offer(status.cameras);
    this.threshold.show(status.images);
    find("search-nothing").hidden = status.images > 0;
  }

  take(files) {
    find("search-message").hidden = true;
    if (files.length) this.photos.add(files);
  }

  // Searches with an image that is in the gallery.
  async use(image) {
    location.hash = "search";
    try {
      const crop = await (await fetch(image.crop)).blob();
      this.take([new File([crop], `${image.source.split("/").pop()}.jpg`, { type: crop.type })]);
    } catch {
      showMessage(find("search-message"), "That image could not be fetched.");
    }
  }

  async search() {
    this.running?.abort();
    if (!this.photos.all.length) {
      this.found = null;
      this.show();
      return;
    }
    const running = new AbortController();
    this.running = running;
    const form = new FormData();
    this.photos.write(form);
    this.filters.write(form);
    form.append("top", TOP);
    if (find("by-person").checked) form.append("by_person", "true");
    find("search-busy").hidden = false;
    find("search-message").hidden = true;
    try {
      this.found = await callPatiently("/api/search", { method: "POST", body: form, signal: running.signal });
      this.made = this.found.matches.map((match) => [match, this.cards.card(match)]);
      this.threshold.show(this.found.searched);
      this.show();
      this.announce();
    } catch (error) {
      if (error.name === "AbortError") return;
      this.found = null;
      this.show();
      showMessage(find("search-message"), error.message, () => this.search());
    }
    if (this.running === running) find("search-busy").hidden = true;
  }

  answer() {
    const { matches, nearest, searched } = this.found;
    if (!searched) return { words: "Nothing to search", more: "No image is left by these filters." };
    const at = this.threshold.distance;
    const near = matches.filter((match) => match.distance < at);
    if (!near.length) {
      return { words: "Nobody here", more: `The nearest image is at distance ${distance(nearest)}, not below ${distance(at)}.` };
    }
    const people = [...new Set(near.map((match) => match.person).filter(Boolean))];
    const more = people.length > 3 ? ` and ${count(people.length - 3, "other", "others")}` : "";
    const named = people.length ? ` Named: ${people.slice(0, 3).join(", ")}${more}.` : "";
    const all = near.length === matches.length && matches.length < searched ? "At least " : "";
    return {
      near: true,
      words: `${all}${count(near.length, "possible match", "possible matches")}`,
      more: `The nearest image is at distance ${distance(nearest)}.${named}`,
    };
  }

  announce() {
    if (!this.found) return;
    const { words, more } = this.answer();
    find("told").textContent = `${words}. ${more}`;
  }

  show() {
    find("search-empty").hidden = this.found !== null;
    find("search-answer").hidden = this.found === null;
    if (!this.found) {
      find("search-matches").replaceChildren();
      return;
    }
    const { words, more, near } = this.answer();
    find("answer-words").textContent = words;
    find("answer-words").classList.toggle("found", near === true);
    find("answer-more").textContent = more;
    const groups = { near: [], far: [] };
    for (const [match, card] of this.made) {
      const isNear = match.distance < this.threshold.distance;
      card.classList.toggle("near", isNear);
      card.classList.toggle("far", !isNear);
      groups[isNear ? "near" : "far"].push(card);
    }
    const parts = [];
    if (groups.near.length) {
      parts.push(make("h2", { class: "part" }, "Perhaps this person"), make("ul", { class: "cards" }, ...groups.near));
    }
    if (groups.far.length) {
      parts.push(make("h2", { class: "part" }, "Farther than the threshold"), make("ul", { class: "cards" }, ...groups.far));
    }
    find("search-matches").replaceChildren(...parts);
  }
}
