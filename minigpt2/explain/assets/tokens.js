// The text in its tokens: a colour for each pretoken, two shades for the tokens of one.

const FIRST_SHOWN = 2000;
const HUES = 6;

const tiles = { shown: 0, shade: 0 };

function drawTokens(data) {
  tiles.shown = 0;
  const list = byId("token-list");
  list.replaceChildren();
  list.dir = baseDirection(data);
  list.classList.toggle("few", data.ids.length <= 16);
  list.classList.toggle("many", data.ids.length > 80);
  drawCounts(data);
  showMoreTokens(data);
  drawIds(data);
}

function drawCounts(data) {
  const { characters, bytes, pretokens, tokens } = data.counts;
  const parts = [
    plural(characters, "character"),
    plural(bytes, "byte"),
    plural(pretokens, "pretoken"),
    plural(tokens, "token"),
  ];
  byId("counts").replaceChildren(...parts.flatMap((part) => [make("span", {}, "→"), make("span", {}, part)]).slice(1));
}

function showMoreTokens(data) {
  const end = Math.min(data.ids.length, tiles.shown + FIRST_SHOWN);
  byId("token-list").append(...runs(data, tiles.shown, end));
  tiles.shown = end;
  drawMore(data, end);
}

function drawMore(data, end) {
  const all = data.counts.tokens;
  if (!all) {
    const why = data.counts.characters ? "The text has no byte that is in the vocabulary." : "The text is empty: it has no tokens.";
    return byId("more-tokens").replaceChildren(why);
  }
  if (end === all) return byId("more-tokens").replaceChildren();
  const inPage = data.ids.length;
  byId("more-tokens").replaceChildren(
    `Showing the first ${number(end)} of ${number(all)} tokens. `,
    end < inPage
      ? make(
          "button",
          { type: "button", onclick: () => showMoreTokens(data) },
          `Show ${number(Math.min(FIRST_SHOWN, inPage - end))} more`,
        )
      : "This page holds no more of them; minigpt2 explain --json has every one.",
  );
}

function tile(data, index) {
  const pretoken = data.inPretoken[index];
  const first = index === 0 || data.inPretoken[index - 1] !== pretoken;
  tiles.shade = first ? 0 : 1 - tiles.shade;
  const classes = `token hue${pretoken % HUES} shade${tiles.shade}${first ? " first" : ""}${isSpecial(data, index) ? " special" : ""}`;
  return make(
    "span",
    {
      class: classes,
      role: "option",
      tabindex: index ? -1 : 0,
      "aria-selected": "false",
      "data-index": index,
      "aria-label": describeToken(data, index),
    },
    make("span", { class: "shown", dir: "auto" }, shown(tokenAt(data, index).shown)),
    make("span", { class: "id", dir: "ltr" }, String(idAt(data, index))),
  );
}

function describeToken(data, index) {
  const [start, end] = offsetsAt(data, index);
  return `${plain(tokenAt(data, index).shown)}, id ${idAt(data, index)}, bytes ${tokenAt(data, index).bytes}, characters ${start} to ${end}`;
}

function drawIds(data) {
  const some = data.ids.slice(0, 400);
  byId("id-list").textContent = `[${some.join(", ")}${data.counts.tokens > some.length ? ", …" : ""}]`;
}

function markTile(data, index) {
  const list = byId("token-list");
  list.querySelector('[aria-selected="true"]')?.setAttribute("aria-selected", "false");
  const chosen = list.querySelector(`[data-index="${index}"]`);
  chosen?.setAttribute("aria-selected", "true");
  for (const other of list.querySelectorAll('[tabindex="0"]')) other.tabIndex = -1;
  (chosen ?? list.querySelector(".token"))?.setAttribute("tabindex", "0");
  showCard(data, index);
}

function showCard(data, index) {
  if (index >= data.ids.length) return byId("token-card").replaceChildren();
  const [start, end] = offsetsAt(data, index);
  const pretoken = pretokenAt(data, index);
  const facts = [
    ["token", make("strong", {}, named(tokenAt(data, index)))],
    ["id", String(idAt(data, index))],
    ["bytes", tokenAt(data, index).bytes],
    ["characters", `${number(start)} to ${number(end)}`],
    ["pretoken", named(data.pretokens[pretoken])],
    ["in GPT-2’s files", tokenAt(data, index).written],
  ];
  byId("token-card").replaceChildren(
    make(
      "dl",
      {},
      facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))),
    ),
    isSpecial(data, index)
      ? paragraph("A special token. It is found in the text as it stands and never merged.")
      : make("button", { type: "button", onclick: () => playPretoken(pretoken) }, "See how its pretoken is merged"),
  );
}

function listenToTokens() {
  const list = byId("token-list");
  const indexOf = (target) => Number(target.closest(".token")?.dataset.index ?? NaN);
  list.addEventListener(
    "pointerover",
    (event) => Number.isNaN(indexOf(event.target)) || showCard(selection.data, indexOf(event.target)),
  );
  list.addEventListener("pointerleave", () => showCard(selection.data, selection.index));
  // In text that reads from right to left the next token is on the left.
  const isRightToLeft = () => document.activeElement.closest("[dir]:not(.token)")?.dir === "rtl";
  const forward = (key) => (key === "ArrowDown" || key === (isRightToLeft() ? "ArrowLeft" : "ArrowRight") ? 1 : 0);
  const back = (key) => (key === "ArrowUp" || key === (isRightToLeft() ? "ArrowRight" : "ArrowLeft") ? 1 : 0);
  rove(
    list,
    ".token",
    (key, index, count) =>
      key === "Home"
        ? 0
        : key === "End"
          ? count - 1
          : forward(key) || back(key)
            ? index + forward(key) - back(key)
            : null,
    (element) => select(Number(element.dataset.index)),
  );
}

follow(markTile);
