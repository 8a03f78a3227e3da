// A player of merges: the symbols as they are now, and the tree that grows under the bytes.

const PAUSE = 900;

const player = { pretoken: 0, step: 0, timer: null, states: [], nodes: [] };
const current = () => selection.data.pretokens[player.pretoken];

function drawMerges(data) {
  const played = data.pretokens
    .map((pretoken, index) => [pretoken, index])
    .filter(([pretoken]) => pretoken.branch !== "special_token");
  byId("pick").replaceChildren(
    ...played.map(([pretoken, index]) =>
      make("option", { value: index }, `${plain(clipped(pretoken.shown, 24))}  (${plural(pretoken.size, "byte")})`),
    ),
  );
  byId("player").classList.toggle("empty", !played.length);
  if (played.length) pickPretoken(played[0][1]);
  else showNothingToMerge();
}

function showNothingToMerge() {
  stop();
  for (const id of ["now", "stage", "merge-table", "step-of"]) byId(id).replaceChildren();
  byId("step").max = 0;
  for (const id of ["to-start", "back", "forward", "to-end"]) byId(id).setAttribute("aria-disabled", "true");
  byId("merge-status").textContent = "There is nothing to merge in this text.";
}

function playPretoken(index) {
  pickPretoken(index);
  byId("merges").scrollIntoView({ block: "start" });
  byId("stage").focus({ preventScroll: true });
  start();
}

function pickPretoken(index) {
  stop();
  player.pretoken = index;
  byId("pick").value = String(index);
  byId("step").max = current().merges?.length ?? 0;
  const leaf = Math.max(NARROWEST_LEAF, Math.min(LEAF, (byId("stage").clientWidth - 20) / current().symbols.length));
  player.states = statesOf(current());
  player.nodes = nodesOf(selection.data, current(), player.states, leaf);
  byId("stage").replaceChildren(current().merges ? treeOf(player.nodes, leaf) : paragraph(`Its merges are not shown: ${current().unrecorded}.`));
  drawMergeTable();
  goTo(0);
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
  byId("merge-status").replaceChildren(...statusNodes());
  if (player.step === count) stop();
}

function markStage() {
  const { nodes, step } = player;
  if (!current().merges || !nodes.length) return;
  byId("stage")
    .querySelectorAll(".node")
    .forEach((element, index) => {
      const node = nodes[index];
      const there = node.step <= step;
      element.classList.toggle("there", there);
      element.classList.toggle("whole", there && (!node.parent || node.parent.step > step));
      element.classList.toggle("new", node.step === step && step > 0);
    });
  for (const line of byId("stage").querySelectorAll(".edge"))
    line.classList.toggle("there", Number(line.dataset.step) <= step);
  showNewest(nodes.findLast((node) => node.step === step && (step > 0 || node === nodes[0])));
}

// A tree wider than its frame is scrolled to where something happens.
function showNewest(node) {
  const stage = byId("stage");
  if (node.x < stage.scrollLeft + 60 || node.x > stage.scrollLeft + stage.clientWidth - 60)
    stage.scrollLeft = node.x - stage.clientWidth / 2;
}

// The symbols in a line, and between two neighbours the rank at which they could be merged.
function drawNow() {
  const pretoken = current();
  if (!pretoken.merges) return byId("now").replaceChildren();
  const symbols = player.states[player.step].map((index) => player.nodes[index]);
  const next = pretoken.merges[player.step];
  const ranks = new Map();
  for (let index = 0; next && index < next[3].length; index += 2) ranks.set(next[3][index + 1], next[3][index]);
  byId("now").replaceChildren(
    ...symbols.flatMap((symbol, index) => {
      const box = make(
        "span",
        { class: next && (index === next[1] || index === next[1] + 1) ? "symbol next" : "symbol" },
        symbol.text,
      );
      if (!ranks.has(index)) return index + 1 < symbols.length ? [box, make("span", { class: "gap" })] : [box];
      return [
        box,
        make("span", { class: index === next[1] ? "gap rank lowest" : "gap rank" }, String(ranks.get(index))),
      ];
    }),
  );
}

function statusNodes() {
  const pretoken = current();
  if (!pretoken.merges) return [];
  const { states, nodes, step } = player;
  const made = step
    ? [
        `Merge ${step} of ${pretoken.merges.length} made `,
        make("b", {}, nodes[pretoken.symbols.length + step - 1].text),
        ". ",
      ]
    : [];
  const next = pretoken.merges[step];
  if (!next) {
    const ids = pretoken.ids.join(", ");
    const end =
      states[step].length === 1
        ? `One token is left: id ${ids}.`
        : `No two neighbours are in the list of merges, so these are the tokens: ids ${ids}.`;
    return [...made, end];
  }
  const [rank, position, , candidates] = next;
  const [left, right] = [position, position + 1].map((index) => make("b", {}, nodes[states[step][index]].text));
  const which =
    candidates.length === 2
      ? "the only pair in the list of merges"
      : `the lowest of ${candidates.length / 2} pairs in the list of merges`;
  return [...made, "Next: ", left, " and ", right, `, rank ${number(rank)}, ${which}.`];
}

function drawMergeTable() {
  const { nodes } = player;
  const pretoken = current();
  const lines = (pretoken.merges ?? []).map(([rank, , id, candidates], index) => {
    const node = nodes[pretoken.symbols.length + index];
    const cells = [
      `${node.parts[0].text} + ${node.parts[1].text}`,
      node.text,
      number(rank),
      String(id),
      number(candidates.length / 2),
    ];
    return tableLine(String(index + 1), cells);
  });
  byId("merge-table").replaceChildren(...tableParts(["merge", "pair", "product", "rank", "id", "candidates"], lines));
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

// The selected token's pretoken is in the player, and its nodes are framed in the tree.
follow((data, index) => {
  if (index >= data.ids.length || isSpecial(data, index)) return;
  const pretoken = pretokenAt(data, index);
  if (pretoken !== player.pretoken) pickPretoken(pretoken);
  const before = data.inPretoken.indexOf(data.inPretoken[index]);
  const own = player.states.at(-1)[index - before];
  byId("stage")
    .querySelectorAll(".node")
    .forEach((element, number) =>
      element.classList.toggle("chosen", rootOf(player.nodes[number]) === player.nodes[own]),
    );
});

function listenToPlayer() {
  const step = (target) => () => {
    stop();
    goTo(target());
  };
  const actions = {
    ArrowRight: step(() => player.step + 1),
    ArrowLeft: step(() => player.step - 1),
    Home: step(() => 0),
    End: step(() => Infinity),
    " ": () => (player.timer ? stop() : start()),
  };
  byId("pick").addEventListener("change", (event) =>
    select(
      selection.data.inPretoken.findIndex(
        (pretoken) => selection.data.sequence[pretoken] === Number(event.target.value),
      ),
    ),
  );
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
