// The text in its tokens: a colour for each pretoken, two shades for the tokens of one.

const FIRST_SHOWN = 2000;
const HUES = 6;

const tokens = { data: null, selected: 0, shown: 0, shade: 0 };

function drawTokens(data) {
  tokens.data = data;
  tokens.selected = 0;
  tokens.shown = 0;
  byId("token-list").replaceChildren();
  byId("token-list").classList.toggle("few", data.ids.length <= 16);
  byId("token-list").classList.toggle("many", data.ids.length > 80);
  drawCounts(data);
  showMoreTokens();
  drawIds(data);
  selectToken(0);
}

function drawCounts(data) {
  const { characters, bytes, pretokens, tokens } = data.counts;
  const parts = [plural(characters, "character"), plural(bytes, "byte"), plural(pretokens, "pretoken"), plural(tokens, "token")];
  byId("counts").replaceChildren(
    ...parts.flatMap((part, place) => (place ? [make("span", { class: "arrow" }, "→"), make("span", {}, part)] : [make("span", {}, part)])),
  );
}

function showMoreTokens() {
  const { data } = tokens;
  const end = Math.min(data.ids.length, tokens.shown + FIRST_SHOWN);
  const elements = [];
  for (let place = tokens.shown; place < end; place++) {
    elements.push(tokenElement(data, place));
    if (plain(data.tokens[data.ids[place]].shown).endsWith("↵")) elements.push(make("span", { class: "break", role: "presentation" }));
  }
  byId("token-list").append(...elements);
  tokens.shown = end;
  drawMore(data, end);
}

function drawMore(data, end) {
  const all = data.counts.tokens;
  if (!all) return byId("more-tokens").replaceChildren("The text is empty: it has no tokens.");
  if (end === all) return byId("more-tokens").replaceChildren();
  const said = `Showing the first ${number(end)} of ${number(all)} tokens. `;
  const inPage = data.ids.length;
  byId("more-tokens").replaceChildren(
    said,
    end < inPage
      ? make("button", { type: "button", onclick: showMoreTokens }, `Show ${number(Math.min(FIRST_SHOWN, inPage - end))} more`)
      : "This page holds no more of them; minigpt2 explain --json has every one.",
  );
}

function tokenElement(data, place) {
  const id = data.ids[place];
  const token = data.tokens[id];
  const pretoken = data.inPretoken[place];
  const first = place === 0 || data.inPretoken[place - 1] !== pretoken;
  tokens.shade = first ? 0 : 1 - tokens.shade;
  const classes = `token hue${pretoken % HUES} shade${tokens.shade}${first ? " first" : ""}${isSpecial(data, place) ? " special" : ""}`;
  return make(
    "span",
    { class: classes, role: "option", tabindex: place ? -1 : 0, "aria-selected": "false", "data-place": place, "aria-label": describeToken(data, place) },
    make("span", { class: "shown", dir: "auto" }, shown(token.shown)),
    make("span", { class: "id" }, String(id)),
  );
}

function describeToken(data, place) {
  const token = data.tokens[data.ids[place]];
  const [start, end] = offsetsOf(data, place);
  return `${token.written}, id ${data.ids[place]}, bytes ${token.bytes}, characters ${start} to ${end}`;
}

const offsetsOf = (data, place) => data.offsets.slice(2 * place, 2 * place + 2);
const pretokenOf = (data, place) => data.sequence[data.inPretoken[place]];
const isSpecial = (data, place) => data.pretokens[pretokenOf(data, place)].branch === "special_token";

function drawIds(data) {
  const some = data.ids.slice(0, 400);
  byId("ids").textContent = `[${some.join(", ")}${data.counts.tokens > some.length ? ", …" : ""}]`;
}

function selectToken(place) {
  const list = byId("token-list");
  list.querySelector('[aria-selected="true"]')?.setAttribute("aria-selected", "false");
  list.querySelector(`[data-place="${place}"]`)?.setAttribute("aria-selected", "true");
  tokens.selected = place;
  showCard(place);
}

function showCard(place) {
  const { data } = tokens;
  if (place >= data.ids.length) return byId("token-card").replaceChildren();
  const id = data.ids[place];
  const token = data.tokens[id];
  const [start, end] = offsetsOf(data, place);
  const pretoken = pretokenOf(data, place);
  const facts = [
    ["token", make("strong", {}, token.written)],
    ["id", String(id)],
    ["bytes", token.bytes],
    ["characters", `${number(start)} to ${number(end)}`],
    ["pretoken", make("bdi", {}, shown(data.pretokens[pretoken].shown))],
    ...rowFacts(data, id, place),
  ];
  byId("token-card").replaceChildren(
    make("dl", {}, facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)))),
    isSpecial(data, place)
      ? make("p", {}, "A special token: found in the text as it stands, never merged.")
      : make("button", { type: "button", onclick: () => playPretoken(pretoken) }, "See how its pretoken is merged"),
  );
}

function rowFacts(data, id, place) {
  if (!data.rows || place >= data.rows.wpe.shape[0]) return [];
  const { wte } = data.rows;
  const begin = wte.begin + id * wte.rowSize;
  return [[`row of ${wte.name}`, `bytes ${number(begin)} to ${number(begin + wte.rowSize)} of ${wte.file}`]];
}

function listenToTokens() {
  const list = byId("token-list");
  const placeOf = (target) => Number(target.closest(".token")?.dataset.place ?? NaN);
  list.addEventListener("pointerover", (event) => Number.isNaN(placeOf(event.target)) || showCard(placeOf(event.target)));
  list.addEventListener("pointerleave", () => showCard(tokens.selected));
  const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  rove(
    list,
    ".token",
    (key, place, count) => (key in steps ? place + steps[key] : key === "Home" ? 0 : key === "End" ? count - 1 : null),
    (element) => selectToken(Number(element.dataset.place)),
  );
}
