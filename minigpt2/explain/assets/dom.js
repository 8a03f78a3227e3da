"use strict";

// Everything that comes from the text goes into the page as text nodes and attributes, never as markup.

const byId = (id) => document.getElementById(id);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false)
      element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null));
  return element;
}

const make = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const draw = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

const paragraph = (...children) => make("p", {}, ...children);

// A frame for what may be wider than the page: it scrolls, by keys too.
const scrolled = (label, child) =>
  make("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": label }, child);

// The head and the body of a table: the names of its columns, and its lines.
const tableParts = (names, lines) => [
  make(
    "thead",
    {},
    make(
      "tr",
      {},
      names.map((name) => (name ? make("th", { scope: "col" }, name) : make("td"))),
    ),
  ),
  make("tbody", {}, lines),
];

const tableLine = (name, cells, attributes = {}) =>
  make(
    "tr",
    attributes,
    make("th", { scope: "row" }, name),
    cells.map((cell) => make("td", {}, cell)),
  );

// An item of a list with a bar behind it, as long as its share.
function barred(share, ...children) {
  const bar = make("span", { class: "bar", "aria-hidden": "true" });
  bar.style.width = `${100 * share}%`;
  return make("li", { class: "barred" }, bar, ...children);
}

const range = (count) => [...Array(count).keys()];

const number = (value) => value.toLocaleString("en-US");
const plural = (count, noun) => `${number(count)} ${noun}${count === 1 ? "" : "s"}`;
const percent = (share) => {
  if (share > 0 && share < 0.0005) return "<0.1%";
  return share > 0 && share < 0.0995 ? `${(100 * share).toFixed(1)}%` : `${Math.round(100 * share)}%`;
};

// Text in a form that can be seen: runs of [what is shown, whether it is a sign for something that has no shape].
const plain = (segments) => segments.map(([shown]) => shown).join("");
const shown = (segments) =>
  segments.map(([text, isSign]) => (isSign ? make("span", { class: "sign" }, text) : document.createTextNode(text)));

// Shows a section and its link at the top of the page, or hides both.
function showSection(id, isShown) {
  byId(id).hidden = !isShown;
  const link = document.querySelector(`nav a[href="#${id}"]`);
  if (link) link.parentElement.hidden = !isShown;
}

// What must be said wherever numbers of the bundled model are shown.
const labelOf = (data) => (data.rows?.label ? [make("p", { class: "warning" }, data.rows.label)] : []);

// Of several elements one is in the tab order: the one that was last clicked or reached by the keys of `stepOf`.
function rove(container, selector, stepOf, chosen) {
  const focus = (element) => {
    for (const other of container.querySelectorAll('[tabindex="0"]')) other.tabIndex = -1;
    element.tabIndex = 0;
    element.focus();
    chosen(element);
  };
  container.addEventListener("click", (event) => {
    const element = event.target.closest(selector);
    if (element) focus(element);
  });
  container.addEventListener("keydown", (event) => {
    const all = [...container.querySelectorAll(selector)];
    const index = all.indexOf(document.activeElement);
    const next = index < 0 ? null : stepOf(event.key, index, all.length);
    if (next === null || next === undefined) return;
    event.preventDefault();
    if (all[next]) focus(all[next]);
  });
}
