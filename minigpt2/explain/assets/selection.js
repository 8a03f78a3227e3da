// The selected token, by its index in the text, and the sections that follow it.

const selection = { data: null, index: 0, followers: [] };

const follow = (follower) => selection.followers.push(follower);

function select(index) {
  selection.index = index;
  for (const follower of selection.followers) follower(selection.data, index);
}

const idAt = (data, index) => data.ids[index];
const tokenAt = (data, index) => data.tokens[data.ids[index]];
const pretokenAt = (data, index) => data.sequence[data.inPretoken[index]];
const offsetsAt = (data, index) => data.offsets.slice(2 * index, 2 * index + 2);
const isSpecial = (data, index) => data.pretokens[pretokenAt(data, index)].branch === "special_token";

const named = (token) => make("bdi", {}, shown(token.shown));

// The first token to be selected is one of the pretoken with the most merges: it has the most to show.
function mostMerged(data) {
  const merges = (index) => data.pretokens[pretokenAt(data, index)].merges?.length ?? 0;
  return data.ids.reduce((best, _, index) => (merges(index) > merges(best) ? index : best), 0);
}
