// The byte alphabet as a chart of 16 × 16. Bytes of the text are lit, those of the selected token are framed.

const chart = { selected: 0x20 };

function drawBytes(data) {
  const table = byId("byte-chart");
  const digits = range(16);
  table.replaceChildren(
    table.caption,
    ...tableParts(
      ["", ...digits.map((digit) => `_${digit.toString(16)}`)],
      digits.map((line) =>
        tableLine(
          `${line.toString(16)}_`,
          digits.map((digit) => byteButton(data, 16 * line + digit)),
        ),
      ),
    ),
  );
  showByte(chart.selected);
}

function byteButton(data, byte) {
  const count = data.byteCounts[byte];
  const classes = `${count ? "lit" : ""}${data.moved.includes(byte) ? " moved" : ""}`;
  return make(
    "button",
    {
      type: "button",
      class: classes,
      tabindex: byte === chart.selected ? 0 : -1,
      "data-byte": byte,
      "aria-label": `byte ${hex(byte)}, ${data.alphabet[byte]}${count ? `, ${count} in this text` : ""}`,
    },
    data.alphabet[byte],
  );
}

function showByte(byte) {
  const { data } = selection;
  const character = data.alphabet[byte];
  const point = character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
  byId("byte-card").replaceChildren(
    paragraph(
      make("span", { class: "large" }, character),
      make("strong", {}, ` byte ${hex(byte)}`),
      ` is written U+${point}, `,
      plural(data.byteCounts[byte], "time"),
      " in this text.",
    ),
    paragraph(whyWritten(data, byte, point)),
  );
}

function whyWritten(data, byte, point) {
  const index = data.moved.indexOf(byte);
  if (index < 0) return "It prints as a character of its own in Latin-1, so it is written as that.";
  const which = `It is number ${index + 1} of the ${data.moved.length} bytes without a printable character, so it is written U+0100 + ${index} = U+${point}.`;
  return byte === 0x20
    ? `This is the space. ${which} So Ġ is not a space; it is the character that stands for one in GPT-2’s files.`
    : which;
}

function listenToBytes() {
  const table = byId("byte-chart");
  const byteOf = (target) => target.closest("button")?.dataset.byte;
  table.addEventListener("pointerover", (event) => byteOf(event.target) && showByte(Number(byteOf(event.target))));
  table.addEventListener("pointerleave", () => showByte(chart.selected));
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 16, ArrowUp: -16 };
  rove(
    table,
    "button",
    (key, index) => (key in steps ? index + steps[key] : key === "Home" ? 0 : key === "End" ? 255 : null),
    (element) => {
      chart.selected = Number(element.dataset.byte);
      showByte(chart.selected);
    },
  );
}

follow((data, index) => {
  const own = index < data.ids.length ? bytesOf(tokenAt(data, index)) : [];
  for (const cell of byId("byte-chart").querySelectorAll("button"))
    cell.classList.toggle("chosen", own.includes(Number(cell.dataset.byte)));
  byId("token-bytes").replaceChildren(
    ...(own.length
      ? [named(tokenAt(data, index)), ` is ${plural(own.length, "byte")}: `, make("code", {}, own.map(hex).join(" "))]
      : []),
  );
});
