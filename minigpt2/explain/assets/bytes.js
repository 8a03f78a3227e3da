// The byte alphabet as a chart of 16 × 16.

const bytes = { data: null, selected: 0x20 };
const hex = (value) => value.toString(16).padStart(2, "0");

function drawBytes(data) {
  bytes.data = data;
  const table = byId("byte-chart");
  table.querySelector("thead")?.remove();
  table.querySelector("tbody")?.remove();
  const digits = [...Array(16).keys()];
  const head = digits.map((digit) => make("th", { scope: "col" }, `_${digit.toString(16)}`));
  const lines = digits.map((line) =>
    make("tr", {}, make("th", { scope: "row" }, `${line.toString(16)}_`), digits.map((digit) => byteCell(data, 16 * line + digit))),
  );
  table.append(make("thead", {}, make("tr", {}, make("td"), head)), make("tbody", {}, lines));
  showByte(bytes.selected);
}

function byteCell(data, byte) {
  const count = data.byteCounts[byte];
  const classes = `${count ? "lit" : ""}${data.moved.includes(byte) ? " moved" : ""}`;
  return make("td", {}, make(
    "button",
    { type: "button", class: classes, tabindex: byte === bytes.selected ? 0 : -1, "data-byte": byte, "aria-label": `byte ${hex(byte)}, ${data.alphabet[byte]}${count ? `, ${count} in this text` : ""}` },
    data.alphabet[byte],
  ));
}

function showByte(byte) {
  const { data } = bytes;
  const character = data.alphabet[byte];
  const point = character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
  byId("byte-card").replaceChildren(
    make("p", {}, make("span", { class: "large" }, character), make("strong", {}, ` byte ${hex(byte)}`), ` is written U+${point}, `, plural(data.byteCounts[byte], "time"), " in this text."),
    make("p", {}, whyWritten(data, byte, point)),
  );
}

function whyWritten(data, byte, point) {
  const place = data.moved.indexOf(byte);
  if (place < 0) return "Latin-1 prints it, so it stands for itself.";
  const which = `It is number ${place + 1} of the ${data.moved.length} bytes that do not print, so it is U+0100 + ${place} = U+${point}.`;
  return byte === 0x20 ? `The space. ${which} Ġ is no kind of space: it stands exactly 0x100 above 0x20 because the 32 control bytes before the space have all moved too.` : which;
}

function listenToBytes() {
  const table = byId("byte-chart");
  const byteOf = (target) => target.closest("button")?.dataset.byte;
  table.addEventListener("pointerover", (event) => byteOf(event.target) && showByte(Number(byteOf(event.target))));
  table.addEventListener("pointerleave", () => showByte(bytes.selected));
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 16, ArrowUp: -16 };
  rove(
    table,
    "button",
    (key, place) => (key in steps ? place + steps[key] : key === "Home" ? 0 : key === "End" ? 255 : null),
    (element) => {
      bytes.selected = Number(element.dataset.byte);
      showByte(bytes.selected);
    },
  );
}
