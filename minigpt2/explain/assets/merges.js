// A player of merges: the symbols as they are now, and the tree that grows under the bytes.

const LEAF = 46;
const NARROWEST_LEAF = 35;
const LEVEL = 68;
const BOX = 40;
const PAUSE = 900;

const player = { data: null, pretoken: 0, step: 0, timer: null };

function drawMerges(data) {
  player.data = data;
  const played = data.pretokens.map((pretoken, place) => [pretoken, place]).filter(([pretoken]) => pretoken.branch !== "special_token");
  byId("pick").replaceChildren(
    ...played.map(([pretoken, place]) => make("option", { value: place }, `${plain(clipped(pretoken.shown, 24))}  (${plural(pretoken.size, "byte")})`)),
  );
  byId("player").classList.toggle("empty", !played.length);
  const longest = played.reduce((best, each) => ((each[0].merges?.length ?? -1) > (best[0].merges?.length ?? -1) ? each : best), played[0] ?? [null, 0]);
  if (played.length) pickPretoken(longest[1]);
  else showNothingToMerge();
}

function showNothingToMerge() {
  stop();
  for (const id of ["now", "stage", "merge-table", "step-of"]) byId(id).replaceChildren();
  byId("step").max = 0;
  for (const id of ["to-start", "back", "forward", "to-end"]) byId(id).setAttribute("aria-disabled", "true");
  byId("merge-status").textContent = "There is nothing to merge in this text.";
}

function playPretoken(place) {
  pickPretoken(place);
  byId("merges").scrollIntoView({ block: "start" });
  byId("stage").focus({ preventScroll: true });
  start();
}

function pickPretoken(place) {
  stop();
  player.pretoken = place;
  byId("pick").value = String(place);
  const merges = current().merges ?? [];
  byId("step").max = merges.length;
  player.states = statesOf(current());
  player.nodes = nodesOf(current());
  drawStage();
  drawMergeTable();
  goTo(Infinity);
}

const current = () => player.data.pretokens[player.pretoken];

// The symbols before the first merge and after each: nodes by their number, bytes first, then products in order.
function statesOf(pretoken) {
  const states = [[...pretoken.characters].map((_, place) => place)];
  (pretoken.merges ?? []).forEach(([, position], place) => {
    const next = [...states[place]];
    next.splice(position, 2, pretoken.characters.length + place);
    states.push(next);
  });
  return states;
}

// Where each node of the tree stands: bytes in a line, a product under the middle of its two parts.
function nodesOf(pretoken) {
  const values = pretoken.bytes.split(" ");
  const room = (byId("stage").clientWidth - 20) / pretoken.characters.length;
  player.leaf = Math.max(NARROWEST_LEAF, Math.min(LEAF, room));
  const nodes = [...pretoken.characters].map((character, place) => (
    { text: character, byte: values[place], x: player.leaf * (place + 0.5), level: 0, parts: [], parent: null, step: 0 }
  ));
  (pretoken.merges ?? []).forEach(([rank, position, id], place) => {
    const parts = [0, 1].map((side) => nodes[player.states[place][position + side]]);
    const node = {
      text: parts[0].text + parts[1].text, rank, id, parts, parent: null, step: place + 1,
      x: (parts[0].x + parts[1].x) / 2, level: 1 + Math.max(parts[0].level, parts[1].level),
    };
    for (const part of parts) part.parent = node;
    nodes.push(node);
  });
  return nodes;
}

function drawStage() {
  const pretoken = current();
  if (!pretoken.merges) {
    const why = pretoken.size > player.data.longestRecorded
      ? `This pretoken has ${plural(pretoken.size, "byte")}; merges are played up to ${player.data.longestRecorded}.`
      : "This text has too many merges to hold them all; those of this pretoken are not in the page.";
    return byId("stage").replaceChildren(make("p", {}, why));
  }
  const width = player.leaf * pretoken.characters.length + 4;
  const height = LEVEL * Math.max(...player.nodes.map((node) => node.level)) + BOX + 8;
  const picture = draw("svg", { width, height, viewBox: `-2 0 ${width} ${height}`, role: "img", "aria-labelledby": "merge-status" });
  const lines = player.nodes.flatMap((node) => node.parts.map((part) => draw("path", { class: "edge", d: edge(part, node), "data-step": node.step })));
  picture.append(...lines, ...player.nodes.map(drawNode));
  byId("stage").replaceChildren(picture);
}

const topOf = (node) => 2 + LEVEL * node.level;

// Straight down to just above the product, and only there across: so no line runs over another node.
function edge(part, node) {
  const end = topOf(node);
  return `M${part.x} ${topOf(part) + BOX}V${end - 24}C${part.x} ${end - 4} ${node.x} ${end - 22} ${node.x} ${end}`;
}

function drawNode(node) {
  const width = Math.max(31, 9.5 * node.text.length + 14, node.byte ? 0 : 6.6 * number(node.rank).length + 12);
  return draw(
    "g",
    { class: "node", "data-step": node.step, transform: `translate(${node.x} ${topOf(node)})` },
    draw("rect", { x: -width / 2, y: 0, width, height: BOX, rx: 6 }),
    draw("text", { class: "name", y: 19 }, node.text),
    draw("text", { class: "below", y: 33 }, node.byte ?? number(node.rank)),
  );
}

function goTo(step) {
  const count = current().merges?.length ?? 0;
  player.step = Math.max(0, Math.min(count, step));
  byId("step").value = String(player.step);
  byId("step-of").textContent = `${player.step} of ${count}`;
  for (const id of ["to-start", "back"]) byId(id).setAttribute("aria-disabled", String(player.step === 0));
  for (const id of ["to-end", "forward"]) byId(id).setAttribute("aria-disabled", String(player.step === count));
  markStage();
  drawNow();
  byId("merge-status").textContent = statusText();
  if (player.step === count) stop();
}

function markStage() {
  const { nodes, step } = player;
  if (!current().merges) return;
  byId("stage").querySelectorAll(".node").forEach((element, place) => {
    const node = nodes[place];
    const there = node.step <= step;
    element.classList.toggle("there", there);
    element.classList.toggle("whole", there && (!node.parent || node.parent.step > step));
    element.classList.toggle("new", node.step === step && step > 0);
  });
  for (const line of byId("stage").querySelectorAll(".edge")) line.classList.toggle("there", Number(line.dataset.step) <= step);
  showNewest(nodes.findLast((node) => node.step === step));
}

// A tree wider than its frame is scrolled to where something happens.
function showNewest(node) {
  const stage = byId("stage");
  if (node.x < stage.scrollLeft + 60 || node.x > stage.scrollLeft + stage.clientWidth - 60) stage.scrollLeft = node.x - stage.clientWidth / 2;
}

// The symbols in a line, and between two neighbours the rank at which they could be merged.
function drawNow() {
  const pretoken = current();
  if (!pretoken.merges) return byId("now").replaceChildren();
  const symbols = player.states[player.step].map((place) => player.nodes[place]);
  const next = pretoken.merges[player.step];
  const ranks = new Map();
  for (let place = 0; next && place < next[3].length; place += 2) ranks.set(next[3][place + 1], next[3][place]);
  byId("now").replaceChildren(
    ...symbols.flatMap((symbol, place) => {
      const box = make("span", { class: next && (place === next[1] || place === next[1] + 1) ? "symbol next" : "symbol" }, symbol.text);
      if (!ranks.has(place)) return place + 1 < symbols.length ? [box, make("span", { class: "gap" })] : [box];
      return [box, make("span", { class: place === next[1] ? "gap rank lowest" : "gap rank" }, String(ranks.get(place)))];
    }),
  );
}

function statusText() {
  const pretoken = current();
  if (!pretoken.merges) return "";
  const { states, nodes, step } = player;
  const symbols = states[step].map((place) => nodes[place].text);
  const next = pretoken.merges[step];
  const done = step ? `Merge ${step} of ${pretoken.merges.length} made ${nodes[pretoken.characters.length + step - 1].text}. ` : "";
  if (!next) {
    const ids = pretoken.ids.join(", ");
    return symbols.length === 1
      ? `${done}One token is left: id ${ids}.`
      : `${done}No two neighbours are in the list of merges, so these are the tokens: ids ${ids}.`;
  }
  const [rank, position, , candidates] = next;
  const which = candidates.length === 2 ? "the only pair in the list of merges" : `the lowest of ${candidates.length / 2} pairs in the list of merges`;
  return `${done}Next: ${symbols[position]} and ${symbols[position + 1]}, rank ${number(rank)}, ${which}.`;
}

function drawMergeTable() {
  const { nodes } = player;
  const pretoken = current();
  const lines = (pretoken.merges ?? []).map(([rank, , id, candidates], place) => {
    const node = nodes[pretoken.characters.length + place];
    const cells = [`${node.parts[0].text} + ${node.parts[1].text}`, node.text, number(rank), String(id), number(candidates.length / 2)];
    return make("tr", {}, make("th", { scope: "row" }, String(place + 1)), cells.map((cell) => make("td", {}, cell)));
  });
  const head = ["merge", "pair", "product", "rank", "id", "candidates"].map((name) => make("th", { scope: "col" }, name));
  byId("merge-table").replaceChildren(make("thead", {}, make("tr", {}, head)), make("tbody", {}, lines));
}

function start() {
  if (!current().merges?.length) return;
  if (player.step === current().merges.length) goTo(0);
  player.timer = setInterval(() => goTo(player.step + 1), PAUSE);
  labelPlay("pause", "Pause");
}

function stop() {
  clearInterval(player.timer);
  player.timer = null;
  labelPlay("play", "Play");
}

function labelPlay(text, label) {
  byId("play").textContent = text;
  byId("play").setAttribute("aria-label", label);
}

function listenToPlayer() {
  const step = (where) => () => {
    stop();
    goTo(where());
  };
  const actions = {
    ArrowRight: step(() => player.step + 1),
    ArrowLeft: step(() => player.step - 1),
    Home: step(() => 0),
    End: step(() => Infinity),
    " ": () => (player.timer ? stop() : start()),
  };
  byId("pick").addEventListener("change", (event) => pickPretoken(Number(event.target.value)));
  byId("step").addEventListener("input", (event) => step(() => Number(event.target.value))());
  byId("forward").addEventListener("click", actions.ArrowRight);
  byId("back").addEventListener("click", actions.ArrowLeft);
  byId("to-start").addEventListener("click", actions.Home);
  byId("to-end").addEventListener("click", actions.End);
  byId("play").addEventListener("click", actions[" "]);
  byId("player").addEventListener("keydown", (event) => {
    const own = event.target.closest("select, input, details, button");
    const taken = own && (event.key === " " || !own.matches("button"));
    if (taken || !(event.key in actions) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    actions[event.key]();
  });
}
