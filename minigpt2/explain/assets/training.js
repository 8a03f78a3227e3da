// Where merges come from: the text's own pairs are counted, the most frequent becomes a token, and again.

const MOST_PAIRS = 8;
const MOST_WORDS = 200;
const MOST_DISTINCT = 2000;

const training = { words: [], sequence: [], learned: [] };

// Symbols are numbers: 0 to 255 for the bytes in the order of their characters, 256 + r for the product of merge r.
function drawTraining(data) {
  const order = range(256).sort((a, b) => data.alphabet.codePointAt(a) - data.alphabet.codePointAt(b));
  const numberOf = order.map((_, byte) => order.indexOf(byte));
  const kept = data.pretokens
    .slice(0, MOST_DISTINCT)
    .map((pretoken) => pretoken.branch !== "special_token" && pretoken.merges !== null);
  training.bytes = order.map((byte) => [byte]);
  training.words = data.pretokens.slice(0, MOST_DISTINCT).map((pretoken, index) => ({
    symbols: kept[index] ? bytesOf(pretoken).map((byte) => numberOf[byte]) : [],
    count: 0,
  }));
  training.sequence = data.sequence.filter((index) => kept[index]);
  for (const index of training.sequence) training.words[index].count += 1;
  training.start = training.words.map((word) => word.symbols);
  startTraining();
}

function startTraining() {
  training.learned = [];
  training.bytes.length = 256;
  training.words.forEach((word, index) => (word.symbols = training.start[index]));
  showTraining();
}

// Pairs of neighbours with how often they occur: the most frequent first, the lower numbers first among equals.
function countedPairs() {
  const counts = new Map();
  for (const { symbols, count } of training.words) {
    for (let index = 0; index + 1 < symbols.length; index++) {
      const key = `${symbols[index]} ${symbols[index + 1]}`;
      counts.set(key, (counts.get(key) ?? 0) + count);
    }
  }
  const pairs = [...counts].map(([key, count]) => ({ pair: key.split(" ").map(Number), count }));
  return pairs.sort((a, b) => b.count - a.count || a.pair[0] - b.pair[0] || a.pair[1] - b.pair[1]);
}

function learn() {
  const [best] = countedPairs();
  if (!best) return;
  const product = training.bytes.length;
  training.bytes.push(best.pair.flatMap((symbol) => training.bytes[symbol]));
  training.learned.push({ ...best, product });
  for (const word of training.words) word.symbols = joined(word.symbols, best.pair, product);
  showTraining();
}

function joined(symbols, [left, right], product) {
  const result = [];
  for (const symbol of symbols) {
    if (symbol === right && result.at(-1) === left) result[result.length - 1] = product;
    else result.push(symbol);
  }
  return result;
}

const symbolText = (symbol) => shownBytes(training.bytes[symbol]);

function showTraining() {
  const pairs = countedPairs();
  const newest = training.learned.at(-1);
  byId("learn").setAttribute("aria-disabled", String(!pairs.length));
  byId("train-status").textContent = newest
    ? `Merge ${training.learned.length}: ${newest.pair.map(symbolText).join(" + ")} occurred ${plural(newest.count, "time")} and became ${symbolText(newest.product)}, id ${newest.product}.`
    : "No merge is learned yet: every symbol is a byte.";
  byId("pairs").replaceChildren(
    ...pairs
      .slice(0, MOST_PAIRS)
      .map(({ pair, count }) =>
        barred(
          count / pairs[0].count,
          make("bdi", {}, pair.map(symbolText).join(" + ")),
          make("span", { class: "cosine" }, number(count)),
        ),
      ),
  );
  byId("train-text").replaceChildren(
    ...training.sequence.slice(0, MOST_WORDS).map((index) => wordOf(training.words[index], newest)),
  );
  byId("learned").replaceChildren(
    ...training.learned.map(({ pair, product }) =>
      make("li", {}, `${pair.map(symbolText).join(" + ")} → ${symbolText(product)}`),
    ),
  );
}

const wordOf = (word, newest) =>
  make(
    "span",
    { class: "word" },
    word.symbols.map((symbol) =>
      make("span", { class: symbol === newest?.product ? "symbol next" : "symbol" }, symbolText(symbol)),
    ),
  );

function listenToTraining() {
  byId("learn").addEventListener("click", learn);
  byId("unlearn").addEventListener("click", startTraining);
}
