// All images of the gallery, a page at a time.

import { call } from "./calls.js";
import { count, find, settled, showMessage } from "./elements.js";
import { Filters } from "./filters.js";

const PAGE = 60;

export class Browse {
  constructor(cards) {
    this.cards = cards;
    this.running = null;
    this.after = 0;
    const soon = settled(() => this.load(), 250);
    this.filters = new Filters("browse", soon);
    find("browse-more").addEventListener("click", () => this.load(true));
  }

  update(status) {
    this.filters.offer(status.cameras);
  }

  async load(further = false) {
    this.running?.abort();
    const running = new AbortController();
    this.running = running;
    const query = new URLSearchParams();
    this.filters.write(query);
    query.append("limit", PAGE);
    if (further) query.append("after", this.after);
    try {
      const found = await call(`/api/images?${query}`, { signal: running.signal });
      const cards = found.images.map((image) => this.cards.card(image));
      if (further) find("browse-cards").append(...cards);
      else find("browse-cards").replaceChildren(...cards);
      if (further) cards[0]?.querySelector(".open").focus();
      this.after = found.after;
      find("browse-count").textContent = count(found.total, "image", "images");
      find("browse-more").parentElement.hidden = found.after === null;
      find("browse-message").hidden = true;
    } catch (error) {
      if (error.name !== "AbortError") showMessage(find("browse-message"), error.message, () => this.load());
    }
  }
}
