// Making elements. Text goes in as text nodes alone, so that no name of a file or a person becomes markup.

export const find = (id) => document.getElementById(id);

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

export function count(number, one, many) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

export function distance(number) {
  return number.toFixed(3);
}

// A place for a message that stays until it is replaced; `again` puts a button beside it.
export function showMessage(place, text, again = null) {
  place.replaceChildren(make("p", {}, text));
  if (again) place.append(make("button", { type: "button", onclick: again }, "Try again"));
  place.hidden = false;
}

// Called once `wait` milliseconds have passed without another call.
export function settled(call, wait) {
  let timer = 0;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => call(...values), wait);
  };
}
