// The slider of the distance below which two images count as one person's, and what is known of its errors.

import { distance, find, make } from "./elements.js";

const AS_GOOD_AS = 0.0026; // half a step of the slider, and rounding

export function share(rate) {
  const one = 1 / rate;
  return `1 in ${(one < 10 ? Number(one.toFixed(1)) : Math.round(one)).toLocaleString("en")}`;
}

function number(value) {
  return (value < 9.5 ? Number(value.toPrecision(1)) : Number(value.toPrecision(2))).toLocaleString("en");
}

// What is known of a threshold: rates are known at some distances, and between them no more than that it lies between.
export function rateWords(at, known, images) {
  if (!known.length) {
    return "Its false-positive rate is not known: no calibration is attached to this gallery.";
  }
  const exact = known.find((each) => Math.abs(each.distance - at) < AS_GOOD_AS);
  const below = known.filter((each) => each.distance < at).at(-1);
  const above = known.find((each) => each.distance > at);
  let rate;
  let most = null;
  if (exact) [rate, most] = [share(exact.rate), `about ${number(exact.rate * images)}`];
  else if (!below) [rate, most] = [`at most ${share(above.rate)}`, `at most about ${number(above.rate * images)}`];
  else if (!above) [rate, most] = [`more than ${share(below.rate)}`, `more than ${number(below.rate * images)}`];
  else {
    rate = `between ${share(below.rate)} and ${share(above.rate)}`;
    most = `${number(below.rate * images)} to ${number(above.rate * images)}`;
  }
  const wrong = images ? ` Of ${images.toLocaleString("en")} images of other people, ${most} would be this near.` : "";
  return `False-positive rate: ${rate}.${wrong}`;
}

export class Threshold {
  constructor(known, changed) {
    this.known = known; // [{rate, distance, missed}], by rising distance
    this.images = 0;
    this.changed = changed;
    this.slider = find("threshold");
    if (known.length) this.slider.value = known[0].distance;
    this.slider.addEventListener("input", () => this.moved());
    find("marks").replaceChildren(
      ...known.map((each) =>
        make(
          "button",
          { type: "button", "data-distance": each.distance, onclick: () => this.set(each.distance) },
          `${share(each.rate)} wrong`,
        ),
      ),
    );
    this.exact = known.length ? known[0].distance : null;
    this.show();
  }

  // The slider moves in steps, and a calibrated distance lies between two: chosen by its button it counts as it is.
  get distance() {
    return this.exact ?? Number(this.slider.value);
  }

  set(value) {
    this.slider.value = value;
    this.exact = value;
    this.show();
    this.changed();
  }

  moved() {
    this.exact = null;
    this.show();
    this.changed();
  }

  // `images`: how many a search looks at, which says how many wrong ones a rate means.
  show(images = this.images) {
    this.images = images;
    const at = this.distance;
    const words = rateWords(at, this.known, images);
    find("threshold-distance").textContent = distance(at);
    find("threshold-rate").textContent = words;
    const exact = this.known.find((each) => Math.abs(each.distance - at) < AS_GOOD_AS);
    find("threshold-missed").textContent =
      exact && exact.missed !== null ? `Of pairs of one person, ${Math.round(exact.missed * 100)} % are farther and missed.` : "";
    this.slider.setAttribute("aria-valuetext", `${distance(at)}. ${words}`);
    for (const button of find("marks").children) {
      button.setAttribute("aria-pressed", String(Math.abs(button.dataset.distance - at) < AS_GOOD_AS));
    }
  }
}
