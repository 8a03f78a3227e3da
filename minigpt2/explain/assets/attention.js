// Attention: how much each token takes in of itself and of the tokens before it, by layer and head.

const attention = { weights: null, layer: 0, head: 0 };

function drawLayers(data) {
  const { layers } = data;
  showSection("layers", data.ids.length > 0 && data.rows !== null);
  for (const id of ["lens", "next"]) showSection(id, layers !== null);
  if (data.fault)
    return byId("layers-body").replaceChildren(
      paragraph(`Attention and the next word need the model’s layers, and ${data.fault}.`),
    );
  if (!layers)
    return byId("layers-body").replaceChildren(
      paragraph(
        "Attention and the next word need the layers of a model on this machine: ",
        make("code", {}, "minigpt2 download"),
        " gets GPT-2’s, ",
        make("code", {}, "--model bundled"),
        " has a small model’s.",
      ),
    );
  attention.weights = fromBase64(layers.attentions);
  attention.layer = Math.min(attention.layer, layers.count - 1);
  attention.head = Math.min(attention.head, layers.heads - 1);
  byId("layers-body").replaceChildren(
    ...labelOf(data),
    layers.length < data.counts.tokens
      ? paragraph(`Shown are the first ${layers.length} tokens; later ones do not change what these take in.`)
      : "",
    make(
      "p",
      { class: "key" },
      "Each picture is a head of a layer. It has a line for each token, and colour where that token takes much in.",
    ),
    scrolled("Heads", headTable(layers)),
    make("p", { class: "readout", id: "attention-readout", role: "status" }),
    make("div", { class: "attended", id: "attended", dir: baseDirection(data) }),
  );
  paintHeads(data);
}

// The lower triangles of all heads, one after the other, row by row: 255 is all of a token's attention.
function weightOf(layers, layer, head, query, key) {
  const triangle = (layers.length * (layers.length + 1)) / 2;
  return attention.weights[(layer * layers.heads + head) * triangle + (query * (query + 1)) / 2 + key] / 255;
}

const headTable = (layers) =>
  make(
    "table",
    { id: "heads", "aria-label": "Heads by layer" },
    ...tableParts(
      ["", ...range(layers.heads).map(String)],
      range(layers.count).map((layer) =>
        tableLine(
          `h.${layer}`,
          range(layers.heads).map((head) => headButton(layer, head)),
        ),
      ),
    ),
  );

const headButton = (layer, head) =>
  make(
    "button",
    {
      type: "button",
      "data-head": `${layer}.${head}`,
      "aria-pressed": "false",
      "aria-label": `layer ${layer}, head ${head}`,
      tabindex: layer || head ? -1 : 0,
    },
    make("canvas", { "aria-hidden": "true" }),
  );

function paintHeads(data) {
  const { layers } = data;
  const colour = colours();
  for (const button of document.querySelectorAll("#heads button")) {
    const [layer, head] = button.dataset.head.split(".").map(Number);
    const canvas = button.querySelector("canvas");
    canvas.width = canvas.height = layers.length;
    const context = canvas.getContext("2d");
    for (let query = 0; query < layers.length; query++) {
      for (let key = 0; key <= query; key++) {
        context.fillStyle = colour(weightOf(layers, layer, head, query, key));
        context.fillRect(key, query, 1, 1);
      }
    }
  }
}

function showAttention(data, index) {
  const { layers } = data;
  if (!layers) return;
  const query = Math.min(index, layers.length - 1);
  const weights = range(query + 1).map((key) => weightOf(layers, attention.layer, attention.head, query, key));
  for (const button of document.querySelectorAll("#heads button"))
    button.setAttribute("aria-pressed", String(button.dataset.head === `${attention.layer}.${attention.head}`));
  const most = weights
    .map((weight, key) => [weight, key])
    .sort((a, b) => b[0] - a[0])
    .slice(0, 3);
  byId("attention-readout").replaceChildren(
    `Head ${attention.head} of layer h.${attention.layer}: `,
    named(tokenAt(data, query)),
    " takes ",
    ...most.flatMap(([weight, key], order) => [
      order ? ", " : "",
      percent(weight),
      " from ",
      key === query ? "itself" : named(tokenAt(data, key)),
    ]),
    ".",
  );
  byId("attended").replaceChildren(...range(layers.length).map((key) => attendedTile(data, key, query, weights[key])));
}

function attendedTile(data, key, query, weight) {
  const tile = make(
    "button",
    {
      type: "button",
      class: key > query ? "later" : key === query ? "query" : "earlier",
      "data-index": key,
      "aria-pressed": String(key === query),
    },
    make("span", { class: "shown", dir: "auto" }, shown(tokenAt(data, key).shown)),
    make("span", { class: "weight" }, key > query ? "–" : percent(weight)),
  );
  if (key <= query) tile.style.setProperty("--weight", `${Math.round(100 * weight)}%`);
  return tile;
}

follow(showAttention);

function listenToAttention() {
  const body = byId("layers-body");
  const steps = (key) =>
    ({ ArrowRight: 1, ArrowLeft: -1, ArrowDown: selection.data.layers.heads, ArrowUp: -selection.data.layers.heads })[
      key
    ];
  rove(
    body,
    "#heads button",
    (key, index) => (steps(key) ? index + steps(key) : null),
    (button) => {
      [attention.layer, attention.head] = button.dataset.head.split(".").map(Number);
      showAttention(selection.data, selection.index);
    },
  );
  body.addEventListener("click", (event) => {
    const tile = event.target.closest("#attended button");
    if (!tile) return;
    select(Number(tile.dataset.index));
    byId("attended").querySelector(`[data-index="${tile.dataset.index}"]`).focus();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener(
    "change",
    () => selection.data.layers && paintHeads(selection.data),
  );
}
