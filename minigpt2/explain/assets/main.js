// Draws the trace that the page holds, section by section, and selects a token in all of them.

function render(data) {
  selection.data = data;
  drawTokens(data);
  drawPretokens(data);
  drawBytes(data);
  drawMerges(data);
  drawTraining(data);
  drawRows(data);
  drawNear(data);
  drawLayers(data);
  drawNext(data);
  drawFile(data);
  select(mostMerged(data));
}

listenToTokens();
listenToBytes();
listenToPlayer();
listenToTraining();
listenToHeat();
listenToAttention();
listenToNext();
listenToWidth();
listenToBox();
const trace = JSON.parse(byId("trace").textContent);
if (trace.text !== undefined) byId("box").value = trace.text;
render(trace);
