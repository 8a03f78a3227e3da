// A live page asks its server for another trace whenever its text changes.

const WAIT = 150;
const live = { timer: null, asked: 0 };

function listenToBox() {
  byId("box").addEventListener("input", () => {
    clearTimeout(live.timer);
    live.timer = setTimeout(ask, WAIT);
  });
}

// Answers can overtake each other: only the answer to the last question is drawn.
async function ask() {
  const question = ++live.asked;
  const answer = await explained(byId("box").value);
  if (question !== live.asked) return;
  byId("trouble").textContent = answer.error ?? "";
  if (!answer.error) render(answer);
}

// What the server answers, or an error; an error in drawing is not caught here and shows in the browser's console.
async function explained(text) {
  try {
    const body = JSON.stringify({ text });
    const response = await fetch("explain", { method: "POST", headers: { "Content-Type": "application/json" }, body });
    return await response.json();
  } catch {
    return { error: "The server does not answer. Is minigpt2 serve still running?" };
  }
}
