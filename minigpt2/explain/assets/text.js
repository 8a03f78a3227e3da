// Bytes as text.

const bytesOf = (token) => (token.bytes ? token.bytes.split(" ").map((byte) => parseInt(byte, 16)) : []);
const hex = (byte) => byte.toString(16).padStart(2, "0");

const fromBase64 = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

// The text that bytes are, or null where they are not whole characters.
function textOf(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(new Uint8Array(bytes));
  } catch {
    return null;
  }
}

// Bytes in a form that can be seen; the page's data has this for tokens, and here it is for bytes that are not a token.
function shownBytes(bytes) {
  const text = textOf(bytes);
  if (text === null) return `⟨${bytes.map(hex).join(" ")}⟩`;
  return [...text].map((character) => ({ " ": "·", "\n": "↵", "\t": "→" })[character] ?? character).join("");
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
