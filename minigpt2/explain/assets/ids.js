// Why a token has the id that it has.

function mergeOf(data, id) {
  for (const pretoken of data.pretokens) {
    const merge = pretoken.merges?.find(([, , product]) => product === id);
    if (merge) return merge;
  }
  return null;
}

follow((data, index) => {
  if (index >= data.ids.length) return byId("id-of-token").replaceChildren();
  const id = idAt(data, index);
  const merge = mergeOf(data, id);
  byId("id-of-token").replaceChildren(named(tokenAt(data, index)), whyThisId(data, index, id, merge));
});

function whyThisId(data, index, id, merge) {
  if (merge && id === 256 + merge[0])
    return ` is made by the merge of rank ${number(merge[0])}, so its id is 256 + ${number(merge[0])} = ${id}.`;
  if (merge) return ` is made by the merge of rank ${number(merge[0])}; its id is ${id}.`;
  if (isSpecial(data, index)) return ` is a special token, id ${id}. No merge makes it.`;
  return bytesOf(tokenAt(data, index)).length === 1
    ? ` is a single byte, id ${id}. No merge makes it.`
    : ` has the id ${id}.`;
}
