// The next word: the likeliest tokens, at a temperature, and taking one of them.

const MOST_NEXT = 10;
const MOST_LAST = 12;

function drawNext(data) {
  if (!data.layers) return byId("next-body").replaceChildren();
  byId("next-body").replaceChildren(
    ...labelOf(data),
    paragraph(...endOfText(data)),
    make("ol", { id: "next-tokens" }),
    make("p", { class: "key", id: "next-rest" }),
  );
  showNext();
}

// The last tokens that the model read, which is not always the end of the text.
function endOfText(data) {
  const { read } = data.layers;
  const last = range(read).slice(-MOST_LAST);
  return [
    read > MOST_LAST ? "After … " : "After ",
    make("b", { dir: baseDirection(data) }, ...last.map((index) => named(tokenAt(data, index)))),
    read < data.counts.tokens ? `, the first ${number(read)} tokens: the model reads no more than these.` : ":",
  ];
}

function showNext() {
  const { data } = selection;
  if (!data.layers) return;
  const [temperature, logSum] = data.layers.logSums[Number(byId("temperature").value) - 1];
  byId("temperature-of").textContent = temperature.toFixed(1);
  const guesses = data.layers.next
    .slice(0, MOST_NEXT)
    .map(([id, logit]) => [id, logit, Math.exp(logit / temperature - logSum)]);
  byId("next-tokens").replaceChildren(
    ...guesses.map(([id, logit, probability]) => nextItem(data, id, logit, probability)),
  );
  const rest = 1 - guesses.reduce((sum, guess) => sum + guess[2], 0);
  byId("next-rest").textContent = `All other tokens together: ${percent(Math.max(0, rest))}.`;
}

function nextItem(data, id, logit, probability) {
  const text = textOf(bytesOf(data.tokens[id]));
  const take =
    document.body.matches(".live") && text
      ? [
          make(
            "button",
            { type: "button", onclick: () => takeNext(text), "aria-label": `Take ${plain(data.tokens[id].shown)}` },
            "take this one",
          ),
        ]
      : [];
  return barred(
    probability,
    make("span", { class: "guess" }, named(data.tokens[id])),
    make("span", { class: "logit" }, `logit ${logit.toFixed(2)}`),
    make("span", { class: "chance" }, percent(probability)),
    ...take,
  );
}

// The token goes to the end of the text, as when the model writes. Until the answer is there, no other can be taken.
async function takeNext(text) {
  byId("box").value += text;
  byId("next-tokens").inert = true;
  await ask();
  byId("next-tokens").inert = false;
  byId("next-tokens").querySelector("button")?.focus({ preventScroll: true });
}

function listenToNext() {
  byId("temperature").addEventListener("input", showNext);
}
