// The nearest tokens of each token of the text.

const CARDS = 12;

function drawNear(data) {
  if (!data.rows?.count) return byId("near-body").replaceChildren();
  const ids = [...new Set(data.ids.slice(0, data.rows.wpe.shape[0]))].filter((id) => id in data.rows.neighbours);
  const all = new Set(data.ids).size;
  byId("near-body").replaceChildren(
    ...labelOf(data),
    ids.length
      ? paragraph(
          `Under each token are the tokens with the highest cosine, best first.${ids.length < all ? ` Only the first ${number(ids.length)} different tokens, of ${number(all)}, have neighbours here.` : ""}`,
        )
      : paragraph(
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
    paragraph(planeText(data.rows)),
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
  const items = found.map(([near, cosine]) =>
    barred(
      Math.max(0, cosine),
      data.tokens[near].written ? named(data.tokens[near]) : "no token",
      make("span", { class: "cosine" }, cosine.toFixed(3)),
    ),
  );
  return make(
    "article",
    { class: `near hue${index % HUES}`, "data-id": id },
    make("h3", {}, named(data.tokens[id]), make("span", { class: "id" }, String(id))),
    found.length ? make("ol", {}, items) : paragraph("Its row has no direction."),
  );
}

follow((data, index) => {
  for (const element of document.querySelectorAll("#near [data-id], #file [data-id]"))
    element.classList.toggle("chosen", index < data.ids.length && Number(element.dataset.id) === idAt(data, index));
});
