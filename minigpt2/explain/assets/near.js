// What lies near: the nearest tokens of each, and all of them on a plane.

const CARDS = 12;
const near = { data: null, width: 0 };

function drawNear(data) {
  near.data = data;
  if (!data.rows?.count) return byId("near-body").replaceChildren();
  const ids = [...new Set(data.ids.slice(0, data.rows.wpe.shape[0]))].filter((id) => id in data.rows.neighbours);
  const all = new Set(data.ids).size;
  byId("near-body").replaceChildren(
    ...labelOf(data.rows),
    !ids.length
      ? make("p", { class: "note" }, "Neighbours are looked for in all of wte, which these weights would have to bring over the network: minigpt2 download gets it.")
      : make("p", {}, `The tokens whose rows of wte point most nearly the same way, by the cosine of the two rows.${ids.length < all ? ` Looked for were those of the first ${number(ids.length)} different tokens, of ${number(all)}.` : ""}`),
    neighbourCards(data, ids, 0, CARDS),
    ...(ids.length > CARDS
      ? [make("details", {}, make("summary", {}, `Those of ${plural(ids.length - CARDS, "more token")}`), neighbourCards(data, ids, CARDS, ids.length))]
      : []),
    make("h3", {}, "On a plane"),
    make("p", {}, planeText(data.rows)),
    make("div", { class: "plane" }),
  );
  drawPlane();
}

const neighbourCards = (data, ids, first, end) =>
  make("div", { class: "neighbours" }, ids.slice(first, end).map((id, place) => neighbourCard(data, id, first + place)));

function neighbourCard(data, id, place) {
  const found = data.rows.neighbours[id];
  const items = found.map(([, token, cosine]) => {
    const bar = make("span", { class: "bar", "aria-hidden": "true" });
    bar.style.width = `${100 * Math.max(0, cosine)}%`;
    return make("li", {}, bar, make("bdi", {}, token || "no token"), make("span", { class: "cosine" }, cosine.toFixed(3)));
  });
  return make("article", { class: `near hue${place % HUES}` },
    make("h3", {}, make("bdi", {}, shown(data.tokens[id].shown)), make("span", { class: "id" }, String(id))),
    found.length ? make("ol", {}, items) : make("p", {}, "Its row has no direction."));
}

function planeText(rows) {
  const [first, second] = rows.shares.map((share) => `${(100 * share).toFixed(0)}%`);
  return `The rows of these tokens and of their neighbours, on their first two principal components (PCA of the rows shown here, not of all of wte). Across is ${first} of their variance, up is ${second}: what is far apart here is far apart in wte, and what is close may not be.`;
}

// As wide as there is room: a picture that is scaled down has labels that nobody can read.
function drawPlane() {
  const frame = document.querySelector(".plane");
  if (!frame) return;
  near.width = frame.clientWidth;
  const width = Math.max(300, near.width - 2);
  frame.replaceChildren(plane(near.data.rows, width, Math.max(320, Math.round(width * 0.52))));
}

function listenToWidth() {
  addEventListener("resize", () => {
    if ((document.querySelector(".plane")?.clientWidth ?? near.width) !== near.width) drawPlane();
  });
}

function plane(rows, width, height) {
  const xs = rows.points.map((point) => point[2]);
  const ys = rows.points.map((point) => point[3]);
  const scaled = (values, from, to) => {
    const [low, high] = [Math.min(...values), Math.max(...values)];
    return (value) => (high > low ? from + ((value - low) * (to - from)) / (high - low) : (from + to) / 2);
  };
  const [x, y] = [scaled(xs, 34, width - 110), scaled(ys, height - 50, 44)];
  const taken = [];
  const few = rows.points.filter((point) => point[4]).length <= CARDS;
  // The text's own tokens get their labels first; a label that would run over another is left out where there are many.
  const ordered = [...rows.points].sort((a, b) => Number(b[4]) - Number(a[4]));
  const marks = ordered.map(([id, token, px, py, own], place) => {
    const [cx, cy] = [x(px), y(py)];
    const box = [cx + 8, cy - 9, cx + 10 + (own ? 9.8 : 7.6) * token.length, cy + 9];
    const free = !taken.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3]);
    if (free) taken.push(box);
    return draw("g", { class: own ? `point own hue${place % HUES}` : "point", transform: `translate(${cx.toFixed(1)} ${cy.toFixed(1)})` },
      draw("circle", { r: own ? 7 : 4 }), draw("title", {}, `${token}, id ${id}`),
      free || (own && few) ? draw("text", { x: 11, y: 5 }, token) : null);
  });
  return draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${plural(ordered.length, "token")} on a plane; the neighbours are listed above` },
    draw("path", { class: "axis", d: `M16 ${height - 24}H${width - 16}M16 ${height - 24}V16` }),
    draw("text", { class: "axis-name", x: width - 16, y: height - 8, "text-anchor": "end" }, "first principal component"),
    draw("text", { class: "axis-name", x: 22, y: 26 }, "second"),
    ...marks.reverse());
}
