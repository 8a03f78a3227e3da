// Heat maps of numbers: a colour for each, from blue over the page's own colour to orange.

const heat = { rows: null, at: [0, 0] };
const TALLEST = 720;

function heatMap(name, title, sign) {
  const { count, values } = selection.data.rows;
  return make(
    "figure",
    { class: "heat" },
    make("figcaption", {}, make("span", { class: "operator" }, sign), " ", make("code", {}, title)),
    make(
      "div",
      { class: "with-labels" },
      make("div", { class: "labels", "aria-hidden": "true" }),
      make(
        "div",
        {
          class: "canvas",
          tabindex: 0,
          role: "group",
          "data-rows": name,
          "aria-describedby": "readout",
          "aria-label": `${title}: ${plural(count, "row")} of ${plural(values, "value")}. Arrow keys go from value to value.`,
        },
        make("canvas", { "aria-hidden": "true" }),
        make("div", { class: "row" }),
        make("div", { class: "cursor" }),
      ),
    ),
  );
}

// The tokens beside their rows, where a row is high enough for a line of text.
function drawLabels(height) {
  const { data } = selection;
  document.querySelector(".heats").classList.toggle("labelled", height >= 12);
  for (const labels of document.querySelectorAll(".heat .labels")) {
    labels.hidden = height < 12;
    labels.style.lineHeight = `${height}px`;
    labels.replaceChildren(
      ...(height < 12 ? [] : data.ids.slice(0, data.rows.count)).map((id) => make("div", {}, named(data.tokens[id]))),
    );
  }
}

// The colours mean the same in all three: full colour from the value that only 2% exceed.
function largest() {
  const all = [...heat.rows.tokens, ...heat.rows.positions, ...heat.rows.sums]
    .map(Math.abs)
    .filter(Number.isFinite)
    .sort((a, b) => a - b);
  return all[Math.floor(0.98 * (all.length - 1))] || 1;
}

function paintHeat() {
  if (!selection.data.rows?.count) return;
  const { count, values } = selection.data.rows;
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
    for (let index = 0; index < numbers.length; index++) {
      context.fillStyle = colour(numbers[index] / scale);
      context.fillRect((index % values) * 8, Math.floor(index / values) * height, 8, height);
    }
  }
  drawLabels(height);
  drawLegend(scale, colour);
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  const [low, middle, high] = ["--low", "--middle", "--high"].map((name) =>
    style.getPropertyValue(name).trim().split(" ").map(Number),
  );
  return (share) => {
    if (!Number.isFinite(share)) return "magenta";
    const end = share < 0 ? low : high;
    const amount = Math.min(1, Math.abs(share));
    return `rgb(${middle.map((from, channel) => Math.round(from + amount * (end[channel] - from))).join(" ")})`;
  };
}

function drawLegend(scale, colour) {
  const bars = Array.from({ length: 21 }, (_, index) =>
    draw("rect", { x: index * 8, width: 8, height: 10, fill: colour(index / 10 - 1) }),
  );
  byId("legend").replaceChildren(
    make("span", {}, `−${scale.toPrecision(2)}`),
    draw("svg", { width: 168, height: 10, "aria-hidden": "true" }, ...bars),
    make("span", {}, `+${scale.toPrecision(2)}`),
    make("span", { class: "key" }, "2% of the values are beyond the ends"),
  );
}
