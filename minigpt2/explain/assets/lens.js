// What each layer would say next: the logit lens.

follow((data, index) => {
  const { layers } = data;
  if (!layers) return byId("lens-body").replaceChildren();
  const position = Math.min(index, layers.length - 1);
  const lines = layers.lens.map((row, layer) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, layer ? `h.${layer - 1}` : "wte + wpe"),
      row[position].map((guess) => make("td", {}, guessCell(data, guess))),
    ),
  );
  byId("lens-body").replaceChildren(
    ...labelOf(data),
    make(
      "div",
      { class: "scroll", tabindex: 0, role: "group", "aria-label": "What each layer would say next" },
      make(
        "table",
        { id: "lens-table" },
        make(
          "caption",
          {},
          "The likeliest tokens after ",
          named(tokenAt(data, position)),
          ", best first, if the model ended there",
        ),
        make(
          "thead",
          {},
          make(
            "tr",
            {},
            make("th", { scope: "col" }, "after"),
            range(layers.lens[0][0].length).map((order) => make("th", { scope: "col" }, String(order + 1))),
          ),
        ),
        make("tbody", {}, lines),
      ),
    ),
  );
});

const guessCell = (data, [id, probability]) => [
  named(data.tokens[id]),
  " ",
  make("span", { class: "share" }, percent(probability)),
];
