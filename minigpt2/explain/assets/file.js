// Where the rows are in the file.

const MOST_RANGES = 64;

function drawFile(data) {
  if (!data.rows?.count) return byId("file-body").replaceChildren();
  const { wte } = data.rows;
  const different = [...new Set(data.ids)];
  byId("file-body").replaceChildren(
    ...labelOf(data),
    make(
      "p",
      {},
      `${wte.file} has ${number(wte.fileSize)} bytes. ${wte.name}, ${wte.dtype} ${wte.shape.map(number).join(" × ")}, is bytes ${number(wte.begin)} to ${number(wte.end)}: row i begins at byte ${number(wte.begin)} + i × ${number(wte.rowSize)}.`,
    ),
    fileMap(data, different.slice(0, MOST_RANGES)),
    rangeTable(data, different),
    make("p", {}, "So a row can be read without any library for models:"),
    make("pre", { tabindex: 0, "aria-label": "Python that reads a row" }, readingCode(wte, different[0])),
  );
}

// The file as a bar, wte in it, and below the rows of the text's tokens in wte.
function fileMap(data, ids) {
  const { wte } = data.rows;
  const x = (byte) => 20 + (960 * byte) / wte.fileSize;
  const [left, right] = [x(wte.begin), Math.max(x(wte.begin) + 2, x(wte.end))];
  const row = (id) => 20 + (960 * (id + 0.5)) / wte.shape[0];
  const said = `The file as a bar, ${wte.name} in it at bytes ${wte.begin} to ${wte.end}, and in that the rows of ${plural(ids.length, "token")}`;
  return make(
    "div",
    { class: "scroll", tabindex: 0, role: "group", "aria-label": "Map of the file" },
    draw(
      "svg",
      { class: "file-map", viewBox: "0 0 1000 176", role: "img", "aria-label": said },
      draw("text", { x: 20, y: 18 }, `${wte.file}, ${number(wte.fileSize)} bytes`),
      draw("rect", { class: "whole-file", x: 20, y: 26, width: 960, height: 24, rx: 4 }),
      draw("rect", { class: "part", x: left, y: 26, width: right - left, height: 24 }),
      draw("path", { class: "zoom", d: `M${left} 50L20 104H980L${right} 50Z` }),
      draw("rect", { class: "part", x: 20, y: 104, width: 960, height: 30, rx: 4 }),
      ids.map((id, index) =>
        draw(
          "rect",
          { class: `tick hue${index % HUES}`, "data-id": id, x: row(id) - 1.5, y: 100, width: 3, height: 38 },
          draw("title", {}, `${plain(data.tokens[id].shown)}: row ${id}`),
        ),
      ),
      draw("text", { x: 20, y: 160 }, "row 0"),
      draw("text", { x: 500, y: 160, "text-anchor": "middle" }, wte.name),
      draw("text", { x: 980, y: 160, "text-anchor": "end" }, `row ${number(wte.shape[0] - 1)}`),
    ),
  );
}

function rangeTable(data, different) {
  const { wte } = data.rows;
  const lines = different.slice(0, MOST_RANGES).map((id) => {
    const begin = wte.begin + id * wte.rowSize;
    return make(
      "tr",
      { "data-id": id },
      make("th", { scope: "row" }, named(data.tokens[id])),
      [id, number(begin), number(begin + wte.rowSize)].map((cell) => make("td", {}, String(cell))),
    );
  });
  const rest = different.length - lines.length;
  return make(
    "div",
    { class: "scroll", tabindex: 0, role: "group", "aria-label": "Table of rows and bytes" },
    make(
      "table",
      { id: "range-table" },
      make(
        "caption",
        {},
        rest > 0
          ? `The first ${lines.length} different tokens, of ${number(different.length)}`
          : "Every different token of the text",
      ),
      make(
        "thead",
        {},
        make(
          "tr",
          {},
          ["token", "id = row", "first byte", "end"].map((name) => make("th", { scope: "col" }, name)),
        ),
      ),
      make("tbody", {}, lines),
    ),
  );
}

const TYPES = { F16: "<f2", F32: "<f4", F64: "<f8" };

function readingCode(wte, id) {
  const lines = [
    "import numpy as np",
    "",
    `with open(${JSON.stringify(wte.file)}, "rb") as file:`,
    `    file.seek(${wte.begin} + ${id} * ${wte.rowSize})`,
    wte.dtype === "BF16"
      ? `    row = (np.frombuffer(file.read(${wte.rowSize}), "<u2").astype("<u4") << 16).view("<f4")`
      : `    row = np.frombuffer(file.read(${wte.rowSize}), "${TYPES[wte.dtype]}")`,
  ];
  return lines.join("\n");
}
