// How tiles stand: runs of text that reads in one direction, and brackets under tokens that share a character.

const RIGHT_TO_LEFT = /[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}]/u;

function directionOf(pretoken) {
  const text = plain(pretoken.shown);
  return RIGHT_TO_LEFT.test(text) ? "rtl" : /\p{L}/u.test(text) ? "ltr" : null;
}

// The direction of the text as a whole is that of its first letter.
function baseDirection(data) {
  for (const index of data.sequence) {
    const direction = directionOf(data.pretokens[index]);
    if (direction) return direction;
  }
  return "ltr";
}

// Elements for the tokens from `start` to `end`. What reads in another direction than the text is a run of its own.
function runs(data, start, end) {
  const base = baseDirection(data);
  const elements = [];
  let run = null;
  for (let index = start; index < end;) {
    const direction = directionOf(data.pretokens[pretokenAt(data, index)]) ?? base;
    const next = endOfCharacter(data, index, end);
    if (direction === base) run = null;
    else if (!run) elements.push((run = make("span", { class: "run", role: "presentation", dir: direction })));
    const piece = next - index > 1 ? bracketed(data, index, next) : tile(data, index);
    if (run) run.append(piece);
    else elements.push(piece);
    if (plain(tokenAt(data, next - 1).shown).endsWith("↵"))
      elements.push(make("span", { class: "break", role: "presentation" }));
    index = next;
  }
  return elements;
}

// The index after the last token that shares a character with this one, or with the next that does.
function endOfCharacter(data, index, end) {
  let next = index + 1;
  while (next < end && offsetsAt(data, next)[0] < offsetsAt(data, next - 1)[1]) next++;
  return next;
}

function bracketed(data, start, end) {
  const indices = Array.from({ length: end - start }, (_, offset) => start + offset);
  const bytes = indices.flatMap((index) => bytesOf(tokenAt(data, index)));
  return make(
    "span",
    { class: "shared", role: "presentation" },
    make(
      "span",
      { class: "tiles", role: "presentation" },
      indices.map((index) => tile(data, index)),
    ),
    make("span", { class: "bracket", "aria-hidden": "true" }, textOf(bytes) ?? ""),
  );
}
