// The rows of the text's tokens: which matrices they come from, and the heat maps that show them.

function drawRows(data) {
  const body = byId("rows-body");
  for (const id of ["file", "near"]) showSection(id, (data.rows?.count ?? 0) > 0);
  heat.rows = data.rows && readRows(data.rows);
  heat.at = [0, 0];
  if (!data.rows) return body.replaceChildren(howToGetRows());
  if (!data.rows.count) return body.replaceChildren(paragraph("The text has no tokens, so there are no rows."));
  body.replaceChildren(
    ...labelOf(data),
    paragraph(whatIsShown(data)),
    make("p", { class: "readout", id: "readout", role: "status" }),
    make(
      "div",
      { class: "heats" },
      heatMap("tokens", "wte[id]", ""),
      heatMap("positions", "wpe[position]", "+"),
      heatMap("sums", "wte[id] + wpe[position]", "="),
    ),
    make("div", { class: "legend", id: "legend" }),
  );
  paintHeat();
}

function whatIsShown(data) {
  const { wte, count, values } = data.rows;
  const [rows, width] = wte.shape;
  const some = count < data.counts.tokens ? ` of the first ${number(count)} tokens` : "";
  const which =
    values === width
      ? `All ${width} numbers of each row`
      : `The first ${values} of the ${number(width)} numbers of each row`;
  return `${wte.name} has ${number(rows)} rows of ${number(width)} numbers. ${which}${some}, a colour for each:`;
}

const howToGetRows = () =>
  paragraph(
    "Rows, neighbours and the next word need weights: ",
    make("code", {}, "--model bundled"),
    " has a small model’s, ",
    make("code", {}, "minigpt2 download"),
    " gets GPT-2’s (548 MB).",
  );

// The numbers travel as the bytes of an array, so that they are the library’s to the last bit.
function readRows(rows) {
  const read = (text) => {
    const Numbers = rows.type === "float64" ? Float64Array : Float32Array;
    return new Numbers(fromBase64(text).buffer);
  };
  return { tokens: read(rows.tokens), positions: read(rows.positions), sums: read(rows.sums) };
}

// The fewest digits that mean this number in the checkpoint’s type, as numpy writes it.
function digits(value) {
  const type = selection.data.rows.type;
  const round = type === "float64" ? (x) => x : type === "float16" && Math.f16round ? Math.f16round : Math.fround;
  if (!Number.isFinite(value)) return String(value);
  for (let precision = 1; precision < 17; precision++) {
    const text = value.toPrecision(precision);
    if (round(Number(text)) === value) return String(Number(text));
  }
  return String(value);
}

function readValue(row, column) {
  const { data } = selection;
  const { count, values } = data.rows;
  heat.at = [Math.max(0, Math.min(count - 1, row)), Math.max(0, Math.min(values - 1, column))];
  const [line, value] = heat.at;
  const at = (name) => digits(heat.rows[name][line * values + value]);
  byId("readout").replaceChildren(
    make("strong", {}, named(tokenAt(data, line))),
    ` wte[${idAt(data, line)}, ${value}] `,
    make("b", { class: "value" }, at("tokens")),
    ` + wpe[${line}, ${value}] `,
    make("b", { class: "value" }, at("positions")),
    " = ",
    make("b", { class: "value" }, at("sums")),
  );
  for (const cursor of document.querySelectorAll(".heat .cursor")) {
    Object.assign(cursor.style, {
      left: `${(100 * value) / values}%`,
      width: `${100 / values}%`,
      top: `${(100 * line) / count}%`,
      height: `${100 / count}%`,
    });
  }
}

follow((data, index) => {
  if (!data.rows?.count) return;
  readValue(index, heat.at[1]);
  for (const line of document.querySelectorAll(".heat .row"))
    Object.assign(line.style, { top: `${(100 * heat.at[0]) / data.rows.count}%`, height: `${100 / data.rows.count}%` });
});

function listenToHeat() {
  const body = byId("rows-body");
  const pointed = (event) => {
    const canvas = event.target.closest(".canvas")?.querySelector("canvas");
    if (!canvas) return null;
    const box = canvas.getBoundingClientRect();
    const { count, values } = selection.data.rows;
    return [
      Math.floor((count * (event.clientY - box.top)) / box.height),
      Math.floor((values * (event.clientX - box.left)) / box.width),
    ];
  };
  body.addEventListener("pointermove", (event) => pointed(event) && readValue(...pointed(event)));
  body.addEventListener("click", (event) => {
    if (!pointed(event)) return;
    readValue(...pointed(event));
    select(heat.at[0]);
  });
  body.addEventListener("keydown", (event) => {
    const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (!step || !event.target.matches(".canvas")) return;
    event.preventDefault();
    readValue(heat.at[0] + step[0], heat.at[1] + step[1]);
    if (step[0]) select(heat.at[0]);
  });
  for (const query of ["(prefers-color-scheme: dark)", "print"])
    matchMedia(query).addEventListener("change", paintHeat);
}
