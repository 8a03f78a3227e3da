// Where the rows are in the file.

const MOST_RANGES = 64;

function drawFile(data) {
  if (!data.rows?.count) return byId("file-body").replaceChildren();
  const { wte } = data.rows;
  const different = [...new Set(data.ids)];
  byId("file-body").replaceChildren(
    ...labelOf(data),
    paragraph(
      `${wte.file} has ${number(wte.file_size)} bytes. ${wte.name}, ${wte.dtype} ${wte.shape.map(number).join(" × ")}, is bytes ${number(wte.begin)} to ${number(wte.end)}: row i begins at byte ${number(wte.begin)} + i × ${number(wte.row_size)}.`,
    ),
    fileMap(data, different.slice(0, MOST_RANGES)),
    rangeTable(data, different),
    paragraph("So a row can be read without any library for models:"),
    make("pre", { tabindex: 0, "aria-label": "Python that reads a row" }, readingCode(wte, different[0])),
  );
}

// The file as a bar, wte in it, and below the rows of the text's tokens in wte.
function fileMap(data, ids) {
  const { wte } = data.rows;
  const x = (byte) => 20 + (960 * byte) / wte.file_size;
  const [left, right] = [x(wte.begin), Math.max(x(wte.begin) + 2, x(wte.end))];
  const row = (id) => 20 + (960 * (id + 0.5)) / wte.shape[0];
  const said = `The file as a bar, ${wte.name} in it at bytes ${wte.begin} to ${wte.end}, and in that the rows of ${plural(ids.length, "token")}`;
  return scrolled(
    "Map of the file",
    draw(
      "svg",
      { class: "file-map", viewBox: "0 0 1000 176", role: "img", "aria-label": said },
      draw("text", { x: 20, y: 18 }, `${wte.file}, ${number(wte.file_size)} bytes`),
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
    const begin = wte.begin + id * wte.row_size;
    return tableLine(named(data.tokens[id]), [String(id), number(begin), number(begin + wte.row_size)], {
      "data-id": id,
    });
  });
  const rest = different.length - lines.length;
  const caption =
    rest > 0
      ? `The first ${lines.length} different tokens, of ${number(different.length)}`
      : "Every different token of the text";
  return scrolled(
    "Table of rows and bytes",
    make(
      "table",
      { id: "range-table", class: "lines" },
      make("caption", {}, caption),
      ...tableParts(["token", "id = row", "first byte", "end"], lines),
    ),
  );
}

const TYPES = { F16: "<f2", F32: "<f4", F64: "<f8" };

function readingCode(wte, id) {
  const lines = [
    "import numpy as np",
    "",
    `with open(${JSON.stringify(wte.file)}, "rb") as file:`,
    `    file.seek(${wte.begin} + ${id} * ${wte.row_size})`,
    wte.dtype === "BF16"
      ? `    row = (np.frombuffer(file.read(${wte.row_size}), "<u2").astype("<u4") << 16).view("<f4")`
      : `    row = np.frombuffer(file.read(${wte.row_size}), "${TYPES[wte.dtype]}")`,
  ];
  return lines.join("\n");
}
