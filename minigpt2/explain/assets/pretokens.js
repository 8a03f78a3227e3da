// The branches of the split pattern, and the pretokens that each has matched.

const MOST_MATCHED = 24;

function drawPretokens(data) {
  const counts = data.pretokens.map(() => 0);
  for (const index of data.sequence) counts[index] += 1;
  for (const item of document.querySelectorAll("#branches > li")) {
    const branch = item.dataset.branch;
    const matched = data.pretokens
      .map((pretoken, index) => [pretoken, index])
      .filter(([pretoken]) => pretoken.branch === branch);
    item.querySelector(":scope > code").replaceChildren(...patternOf(data.branches[branch]));
    item.querySelector(":scope > .matched")?.remove();
    item.classList.toggle("unused", !matched.length);
    item.hidden = branch === "special_token" && !matched.length;
    item.append(matchedList(data, matched, counts));
  }
}

// A space at the beginning of a pattern would not be seen.
const patternOf = (pattern) =>
  pattern.startsWith(" ") ? [make("span", { class: "sign" }, "·"), pattern.slice(1)] : [pattern];

function matchedList(data, matched, counts) {
  if (!matched.length) return make("p", { class: "matched none" }, "nothing in this text");
  const chips = matched
    .slice(0, MOST_MATCHED)
    .map(([pretoken, index]) =>
      make(
        "li",
        { class: `hue${data.sequence.indexOf(index) % HUES}`, "data-pretoken": index },
        make("bdi", {}, shown(clipped(pretoken.shown))),
        counts[index] > 1 ? make("span", { class: "times" }, `×${number(counts[index])}`) : null,
      ),
    );
  if (matched.length > chips.length)
    chips.push(make("li", { class: "rest" }, `and ${number(matched.length - chips.length)} more`));
  return make("ul", { class: "matched" }, chips);
}

follow((data, index) => {
  for (const chip of document.querySelectorAll("#branches [data-pretoken]"))
    chip.classList.toggle(
      "chosen",
      index < data.ids.length && Number(chip.dataset.pretoken) === pretokenAt(data, index),
    );
});
