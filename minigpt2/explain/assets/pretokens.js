// The branches of the split pattern, and the pretokens that each has matched.

const MOST_MATCHED = 24;

function drawPretokens(data) {
  const counts = data.pretokens.map(() => 0);
  for (const place of data.sequence) counts[place] += 1;
  for (const item of document.querySelectorAll("#branches > li")) {
    const branch = item.dataset.branch;
    const matched = data.pretokens.map((pretoken, place) => [pretoken, place]).filter(([pretoken]) => pretoken.branch === branch);
    item.querySelector(":scope > code").replaceChildren(...patternOf(data.branches[branch]));
    item.querySelector(":scope > .matched")?.remove();
    item.classList.toggle("unused", !matched.length);
    item.hidden = branch === "special_token" && !matched.length;
    item.append(matchedList(data, matched, counts));
  }
}

// A space at the beginning of a pattern would not be seen.
const patternOf = (pattern) => (pattern.startsWith(" ") ? [make("span", { class: "sign" }, "␣"), pattern.slice(1)] : [pattern]);

function matchedList(data, matched, counts) {
  if (!matched.length) return make("p", { class: "matched none" }, "nothing in this text");
  const chips = matched.slice(0, MOST_MATCHED).map(([pretoken, place]) =>
    make(
      "li",
      { class: `hue${data.sequence.indexOf(place) % HUES}` },
      make("bdi", {}, shown(pretoken.shown.length ? clipped(pretoken.shown) : [])),
      counts[place] > 1 ? make("span", { class: "times" }, `×${number(counts[place])}`) : null,
    ),
  );
  if (matched.length > chips.length) chips.push(make("li", { class: "rest" }, `and ${number(matched.length - chips.length)} more`));
  return make("ul", { class: "matched" }, chips);
}

// The beginning of what is shown, if it is long.
function clipped(segments, most = 40) {
  const kept = [];
  let room = most;
  for (const [text, isSign] of segments) {
    const characters = [...text];
    kept.push([characters.slice(0, room).join(""), isSign]);
    room -= characters.length;
    if (room <= 0) return room < 0 || segments.length > kept.length ? [...kept, ["…", true]] : kept;
  }
  return kept;
}
