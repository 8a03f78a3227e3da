// What each layer would say next: the logit lens.

follow((data, index) => {
  const { layers } = data;
  if (!layers) return byId("lens-body").replaceChildren();
  const position = Math.min(index, layers.length - 1);
  const lines = layers.lens.map((row, layer) =>
    tableLine(
      layer ? `h.${layer - 1}` : "wte + wpe",
      row[position].map((guess) => guessCell(data, guess)),
    ),
  );
  byId("lens-body").replaceChildren(
    ...labelOf(data),
    scrolled(
      "What each layer would say next",
      make(
        "table",
        { id: "lens-table", class: "lines" },
        make(
          "caption",
          {},
          "The likeliest tokens after ",
          named(tokenAt(data, position)),
          ", best first, if the model ended there",
        ),
        ...tableParts(["after", ...layers.lens[0][0].map((_, order) => String(order + 1))], lines),
      ),
    ),
  );
});

const guessCell = (data, [id, probability]) => [
  named(data.tokens[id]),
  " ",
  make("span", { class: "share" }, percent(probability)),
];
