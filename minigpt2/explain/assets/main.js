// Draws the trace that the page holds; a live page asks its server for another whenever its text changes.

function render(data) {
  drawTokens(data);
  drawPretokens(data);
  drawBytes(data);
  drawMerges(data);
  drawRows(data);
  drawFile(data);
  drawNear(data);
}

const WAIT = 150;
const live = { timer: null, asked: 0 };

function listenToBox() {
  byId("box").addEventListener("input", () => {
    clearTimeout(live.timer);
    live.timer = setTimeout(ask, WAIT);
  });
}

// Answers can overtake each other: only the one to the last question is drawn.
async function ask() {
  const question = ++live.asked;
  try {
    const response = await fetch("explain", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ text: byId("box").value }),
    });
    const answer = await response.json();
    if (question !== live.asked) return;
    byId("trouble").textContent = response.ok ? "" : answer.error;
    if (response.ok) render(answer);
  } catch {
    if (question === live.asked) byId("trouble").textContent = "The server does not answer: is minigpt2 serve still running?";
  }
}

listenToTokens();
listenToBytes();
listenToPlayer();
listenToHeat();
listenToWidth();
listenToBox();
const trace = JSON.parse(byId("trace").textContent);
if (trace.text !== undefined) byId("box").value = trace.text;
render(trace);
