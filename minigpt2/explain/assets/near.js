// The nearest tokens of each token of the text.

const CARDS = 12;

function drawNear(data) {
  if (!data.rows?.count) return byId("near-body").replaceChildren();
  const ids = [...new Set(data.ids.slice(0, data.rows.wpe.shape[0]))].filter((id) => id in data.rows.neighbours);
  const all = new Set(data.ids).size;
  byId("near-body").replaceChildren(
    ...labelOf(data),
    ids.length
      ? make(
          "p",
          {},
          `Under each token are the tokens with the highest cosine, best first.${ids.length < all ? ` Only the first ${number(ids.length)} different tokens, of ${number(all)}, have neighbours here.` : ""}`,
        )
      : make(
          "p",
          {},
          "Finding neighbours needs all of wte, which these weights would have to bring over the network: minigpt2 download gets it.",
        ),
    neighbourCards(data, ids, 0, CARDS),
    ...(ids.length > CARDS
      ? [
          make(
            "details",
            {},
            make("summary", {}, `Those of ${plural(ids.length - CARDS, "more token")}`),
            neighbourCards(data, ids, CARDS, ids.length),
          ),
        ]
      : []),
    make("h3", {}, "On a plane"),
    make("p", {}, planeText(data.rows)),
    make("div", { class: "plane" }),
  );
  drawPlane(data);
}

const neighbourCards = (data, ids, first, end) =>
  make(
    "div",
    { class: "neighbours" },
    ids.slice(first, end).map((id, index) => neighbourCard(data, id, first + index)),
  );

function neighbourCard(data, id, index) {
  const found = data.rows.neighbours[id];
  const items = found.map(([near, cosine]) => {
    const bar = make("span", { class: "bar", "aria-hidden": "true" });
    bar.style.width = `${100 * Math.max(0, cosine)}%`;
    const token = data.tokens[near];
    return make(
      "li",
      {},
      bar,
      token.written ? named(token) : "no token",
      make("span", { class: "cosine" }, cosine.toFixed(3)),
    );
  });
  return make(
    "article",
    { class: `near hue${index % HUES}`, "data-id": id },
    make("h3", {}, named(data.tokens[id]), make("span", { class: "id" }, String(id))),
    found.length ? make("ol", {}, items) : make("p", {}, "Its row has no direction."),
  );
}

follow((data, index) => {
  for (const element of document.querySelectorAll("#near [data-id], #file [data-id]"))
    element.classList.toggle("chosen", index < data.ids.length && Number(element.dataset.id) === idAt(data, index));
});
