// Starts the page: what the gallery holds, and the three views, which the address names behind its #.

import { Add } from "./add.js";
import { Browse } from "./browse.js";
import { call } from "./calls.js";
import { Cards } from "./cards.js";
import { count, find, showMessage } from "./elements.js";
import { Search } from "./search.js";

const VIEWS = ["search", "browse", "add"];

function showStatus(status) {
  const cameras = status.cameras.filter((camera) => camera.name).length;
  const parts = [count(status.images, "image", "images")];
  if (status.people) parts.push(count(status.people, "person", "people"));
  if (cameras) parts.push(count(cameras, "camera", "cameras"));
  find("holds").textContent = parts.join(" · ");
}

async function start() {
  let status;
  try {
    status = await call("/api/status");
  } catch (error) {
    showMessage(find("page-message"), error.message, () => location.reload());
    return;
  }
  const cards = new Cards(
    (image) => search.use(image),
    () => refresh(true),
  );
  const search = new Search(status, cards);
  const browse = new Browse(cards);
  new Add(status, () => refresh(false));

  // Filters take no room on a phone before anybody wants them.
  if (matchMedia("(max-width: 860px)").matches) find("where").open = find("browse-which").open = false;

  const current = () => VIEWS.find((view) => `#${view}` === location.hash) ?? "search";

  const update = () => {
    showStatus(status);
    search.update(status);
    browse.update(status);
  };

  async function refresh(again) {
    try {
      status = await call("/api/status");
      find("page-message").hidden = true;
      update();
      if (current() === "browse") browse.load();
      if (again && current() === "search") search.search();
    } catch (error) {
      showMessage(find("page-message"), error.message, () => refresh(again));
    }
  }

  function showView() {
    const view = current();
    for (const name of VIEWS) {
      find(name).hidden = name !== view;
      const link = document.querySelector(`.views a[href="#${name}"]`);
      if (name === view) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    document.title = `${find(view).dataset.title} · ${find("brand").textContent}`;
    cards.unpick();
    if (view === "browse") browse.load();
  }

  addEventListener("hashchange", showView);
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address behind # names a view
    find("main").focus();
  });
  // A file that is dropped beside the places for it would replace the page.
  for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault());
  update();
  showView();
  find("search").setAttribute("data-ready", "");
}

start();
