// The text's tokens and their neighbours on a plane.

const plane = { width: 0 };

function planeText(rows) {
  const [first, second] = rows.shares.map((share) => `${(100 * share).toFixed(0)}%`);
  return `The rows of these tokens and of their neighbours on their first two principal components (PCA of the rows shown here, not of all of wte). Across is ${first} of their variance, up is ${second}. What is far apart here is far apart in wte; what is close here need not be close in wte.`;
}

// As wide as there is room: in a picture that is scaled down, labels are too small to read.
function drawPlane(data) {
  const frame = document.querySelector(".plane");
  if (!frame) return;
  plane.width = frame.clientWidth;
  const width = Math.max(280, plane.width - 2);
  frame.replaceChildren(pictureOf(data, width, Math.max(320, Math.round(width * 0.52))));
}

function listenToWidth() {
  addEventListener("resize", () => {
    if ((document.querySelector(".plane")?.clientWidth ?? plane.width) !== plane.width) drawPlane(selection.data);
  });
}

function scaled(values, from, to) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return (value) => (high > low ? from + ((value - low) * (to - from)) / (high - low) : (from + to) / 2);
}

function pictureOf(data, width, height) {
  const { points } = data.rows;
  const x = scaled(
    points.map((point) => point[1]),
    24,
    width - 110,
  );
  const y = scaled(
    points.map((point) => point[2]),
    height - 50,
    44,
  );
  const taken = [];
  const few = points.filter((point) => point[3]).length <= CARDS;
  // The text's own tokens get their labels first. Where there are many, a label that would cover another is left out.
  const ordered = [...points].sort((a, b) => Number(b[3]) - Number(a[3]));
  const marks = ordered.map(([id, px, py, own], index) => {
    const [cx, cy] = [x(px), y(py)];
    const name = plain(data.tokens[id].shown);
    const box = [cx + 8, cy - 9, cx + 10 + (own ? 9.8 : 7.6) * name.length, cy + 9];
    const free = !taken.some(
      (other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3],
    );
    if (free) taken.push(box);
    return draw(
      "g",
      {
        class: own ? `point own hue${index % HUES}` : "point",
        "data-id": id,
        transform: `translate(${cx.toFixed(1)} ${cy.toFixed(1)})`,
      },
      draw("circle", { r: own ? 7 : 4 }),
      draw("title", {}, `${name}, id ${id}`),
      free || (own && few) ? draw("text", { x: 11, y: 5 }, name) : null,
    );
  });
  return draw(
    "svg",
    {
      viewBox: `0 0 ${width} ${height}`,
      role: "img",
      "aria-label": `${plural(ordered.length, "token")} on a plane; the neighbours are listed above`,
    },
    draw("path", { class: "axis", d: `M16 ${height - 24}H${width - 16}M16 ${height - 24}V16` }),
    draw("text", { x: width - 16, y: height - 8, "text-anchor": "end" }, "first principal component"),
    draw("text", { x: 22, y: 26 }, "second"),
    ...marks.reverse(),
  );
}
