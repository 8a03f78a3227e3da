// The rows as heat maps: wte[id], wpe[position], and their sum.

const heat = { data: null, rows: null, place: [0, 0] };
const TALLEST = 720;

function drawRows(data) {
  const body = byId("rows-body");
  for (const id of ["file", "near"]) byId(id).hidden = !data.rows?.count;
  for (const link of document.querySelectorAll('nav a[href="#near"]')) link.parentElement.hidden = !data.rows?.count;
  heat.data = data;
  heat.rows = data.rows && readRows(data.rows);
  heat.place = [0, 0];
  if (!data.rows) return body.replaceChildren(howToGetRows());
  if (!data.rows.count) return body.replaceChildren(make("p", {}, "No tokens, no rows."));
  const { wte, wpe } = data.rows;
  const [, width] = wte.shape;
  const some = data.rows.count < data.counts.tokens ? `the first ${number(data.rows.count)} tokens, ` : "";
  const values = data.rows.values === width ? `all ${width} values of each row` : `the first ${data.rows.values} of the ${number(width)} values of each row`;
  body.replaceChildren(
    ...labelOf(data.rows),
    make("p", {}, `A token’s id is the number of its row in ${wte.name}, ${number(wte.shape[0])} rows of ${number(width)} numbers; its position’s row in ${wpe.name} is added. The sum enters the first layer. Shown are ${some}${values}.`),
    make("p", { class: "readout", id: "readout", role: "status" }),
    make("div", { class: "heats" },
      heatMap("tokens", "wte[id]", ""), heatMap("positions", "wpe[position]", "+"), heatMap("sums", "wte[id] + wpe[position]", "=")),
    make("div", { class: "legend", id: "legend" }),
  );
  paintHeat();
  readValue(0, 0);
}

function howToGetRows() {
  return make("div", { class: "note" },
    make("p", {}, "This page was made without weights. With GPT-2’s (548 MB, once) it also shows each token’s row, where in the file it lies, and what lies near it:"),
    make("pre", { tabindex: 0, "aria-label": "Commands" }, "minigpt2 download\nminigpt2 explain \"Your text\" -o page.html"));
}

// What must be said wherever numbers of the bundled model are shown.
const labelOf = (rows) => (rows.label ? [make("p", { class: "warning" }, rows.label)] : []);

// The numbers travel as the bytes of an array, so that they are the library’s to the last bit.
function readRows(rows) {
  const read = (text) => {
    const data = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    const Numbers = rows.type === "float64" ? Float64Array : Float32Array;
    return new Numbers(data.buffer);
  };
  return { tokens: read(rows.tokens), positions: read(rows.positions), sums: read(rows.sums) };
}

// The fewest digits that mean this number in the checkpoint’s type, as numpy writes it.
function digits(value) {
  const type = heat.data.rows.type;
  const round = type === "float64" ? (x) => x : type === "float16" && Math.f16round ? Math.f16round : Math.fround;
  if (!Number.isFinite(value)) return String(value);
  for (let precision = 1; precision < 17; precision++) {
    const text = value.toPrecision(precision);
    if (round(Number(text)) === value) return String(Number(text));
  }
  return String(value);
}

function heatMap(name, title, sign) {
  const { count, values } = heat.data.rows;
  return make("figure", { class: "heat" },
    make("figcaption", {}, make("span", { class: "operator" }, sign), " ", make("code", {}, title)),
    make("div", { class: "with-labels" },
      make("div", { class: "labels", "aria-hidden": "true" }),
      make("div", { class: "canvas", tabindex: 0, role: "group", "data-rows": name, "aria-describedby": "readout",
      "aria-label": `${title}: ${plural(count, "row")} of ${plural(values, "value")}. Arrow keys go from value to value.` },
        make("canvas", { "aria-hidden": "true" }), make("div", { class: "cursor" }))));
}

// The tokens beside their rows, where a row is high enough for a line of text.
function drawLabels(height) {
  const { data } = heat;
  document.querySelector(".heats").classList.toggle("labelled", height >= 12);
  for (const labels of document.querySelectorAll(".heat .labels")) {
    labels.hidden = height < 12;
    labels.style.lineHeight = `${height}px`;
    labels.replaceChildren(...(height < 12 ? [] : data.ids.slice(0, data.rows.count)).map((id) => make("div", {}, data.tokens[id].written)));
  }
}

// The colours mean the same in all three: full colour at the largest value but for the outermost 2%.
function largest() {
  const all = [...heat.rows.tokens, ...heat.rows.positions, ...heat.rows.sums].map(Math.abs).filter(Number.isFinite).sort((a, b) => a - b);
  return all[Math.floor(0.98 * (all.length - 1))] || 1;
}

function paintHeat() {
  if (!heat.rows || !heat.data.rows.count) return;
  const { count, values } = heat.data.rows;
  const scale = largest();
  const colour = colours();
  const height = Math.max(3, Math.min(22, Math.floor(TALLEST / count)));
  for (const frame of document.querySelectorAll(".heat .canvas")) {
    const canvas = frame.querySelector("canvas");
    const numbers = heat.rows[frame.dataset.rows];
    canvas.width = values * 8;
    canvas.height = count * height;
    canvas.style.height = `${count * height}px`;
    const context = canvas.getContext("2d");
    for (let place = 0; place < numbers.length; place++) {
      context.fillStyle = colour(numbers[place] / scale);
      context.fillRect((place % values) * 8, Math.floor(place / values) * height, 8, height);
    }
  }
  drawLabels(height);
  drawLegend(scale, colour);
}

// From blue over the page’s own colour to orange.
function colours() {
  const style = getComputedStyle(document.documentElement);
  const [low, middle, high] = ["--low", "--middle", "--high"].map((name) => style.getPropertyValue(name).trim().split(" ").map(Number));
  return (share) => {
    if (!Number.isFinite(share)) return "magenta";
    const end = share < 0 ? low : high;
    const amount = Math.min(1, Math.abs(share));
    return `rgb(${middle.map((from, channel) => Math.round(from + amount * (end[channel] - from))).join(" ")})`;
  };
}

function drawLegend(scale, colour) {
  const bars = Array.from({ length: 21 }, (_, place) => draw("rect", { x: place * 8, width: 8, height: 10, fill: colour(place / 10 - 1) }));
  byId("legend").replaceChildren(
    make("span", {}, `−${scale.toPrecision(2)}`), draw("svg", { width: 168, height: 10, "aria-hidden": "true" }, ...bars), make("span", {}, `+${scale.toPrecision(2)}`),
    make("span", { class: "key" }, "2% of the values are beyond the ends"));
}

function readValue(row, column) {
  const { data, rows } = heat;
  const { count, values } = data.rows;
  heat.place = [Math.max(0, Math.min(count - 1, row)), Math.max(0, Math.min(values - 1, column))];
  const [line, value] = heat.place;
  const id = data.ids[line];
  const at = (name) => digits(rows[name][line * values + value]);
  byId("readout").replaceChildren(
    make("bdi", {}, make("strong", {}, data.tokens[id].written)), ` wte[${id}, ${value}] `, make("b", { class: "value" }, at("tokens")),
    ` + wpe[${line}, ${value}] `, make("b", { class: "value" }, at("positions")), " = ", make("b", { class: "value" }, at("sums")));
  for (const cursor of document.querySelectorAll(".heat .cursor")) {
    Object.assign(cursor.style, { left: `${(100 * value) / values}%`, width: `${100 / values}%`, top: `${(100 * line) / count}%`, height: `${100 / count}%` });
  }
}

function listenToHeat() {
  const body = byId("rows-body");
  const follow = (event) => {
    const canvas = event.target.closest(".canvas")?.querySelector("canvas");
    if (!canvas) return;
    const box = canvas.getBoundingClientRect();
    const { count, values } = heat.data.rows;
    readValue(Math.floor((count * (event.clientY - box.top)) / box.height), Math.floor((values * (event.clientX - box.left)) / box.width));
  };
  body.addEventListener("pointermove", follow);
  body.addEventListener("pointerdown", follow);
  body.addEventListener("keydown", (event) => {
    const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (!step || !event.target.matches(".canvas")) return;
    event.preventDefault();
    readValue(heat.place[0] + step[0], heat.place[1] + step[1]);
  });
  for (const query of ["(prefers-color-scheme: dark)", "print"]) matchMedia(query).addEventListener("change", paintHeat);
}
