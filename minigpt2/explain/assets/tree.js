// The merges of a pretoken as a tree: its bytes at the top, each product under the middle of its two parts.

const LEAF = 46;
const NARROWEST_LEAF = 35;
const LEVEL = 68;
const BOX = 40;

// Nodes are numbered: the bytes first, then the products in the order of the merges. `states` has the numbers of the
// symbols before the first merge and after each.
function statesOf(pretoken) {
  const states = [pretoken.symbols.map((_, index) => index)];
  (pretoken.merges ?? []).forEach(([, position], index) => {
    const next = [...states[index]];
    next.splice(position, 2, pretoken.symbols.length + index);
    states.push(next);
  });
  return states;
}

function nodesOf(data, pretoken, states, leaf) {
  const bytes = pretoken.bytes.split(" ");
  const nodes = pretoken.symbols.map((id, index) => ({
    text: plain(data.tokens[id].shown),
    below: bytes[index],
    x: leaf * (index + 0.5),
    level: 0,
    parts: [],
    parent: null,
    step: 0,
  }));
  (pretoken.merges ?? []).forEach(([rank, position, id], index) => {
    const parts = [0, 1].map((side) => nodes[states[index][position + side]]);
    const node = {
      text: plain(data.tokens[id].shown),
      below: number(rank),
      parts,
      parent: null,
      step: index + 1,
      x: (parts[0].x + parts[1].x) / 2,
      level: 1 + Math.max(parts[0].level, parts[1].level),
    };
    for (const part of parts) part.parent = node;
    nodes.push(node);
  });
  return nodes;
}

function treeOf(nodes, leaf) {
  const width = leaf * nodes.filter((node) => !node.parts.length).length + 4;
  const height = LEVEL * Math.max(...nodes.map((node) => node.level)) + BOX + 8;
  const edges = nodes.flatMap((node) =>
    node.parts.map((part) => draw("path", { class: "edge", d: edge(part, node), "data-step": node.step })),
  );
  return draw(
    "svg",
    { width, height, viewBox: `-2 0 ${width} ${height}`, role: "img", "aria-labelledby": "merge-status" },
    ...edges,
    ...nodes.map(drawNode),
  );
}

const topOf = (node) => 2 + LEVEL * node.level;

// Straight down to just above the product, and only there across: so no line runs over another node.
function edge(part, node) {
  const end = topOf(node);
  return `M${part.x} ${topOf(part) + BOX}V${end - 24}C${part.x} ${end - 4} ${node.x} ${end - 22} ${node.x} ${end}`;
}

function drawNode(node) {
  const width = node.parts.length ? Math.max(31, 9.5 * node.text.length + 14, 6.6 * node.below.length + 12) : 33;
  return draw(
    "g",
    { class: "node", "data-step": node.step, transform: `translate(${node.x} ${topOf(node)})` },
    draw("rect", { x: -width / 2, y: 0, width, height: BOX, rx: 6 }),
    draw("text", { class: node.text.length > 3 && !node.parts.length ? "name small" : "name", y: 19 }, node.text),
    draw("text", { class: "below", y: 33 }, node.below),
  );
}

const rootOf = (node) => (node.parent ? rootOf(node.parent) : node);
