// Which words of a passage are the query's, whatever their endings. Knows words, not what is drawn with them.

const EMPTY = new Set(("a about an and are as at be by do does for from how i in is it its me my not of on or that the" +
  " their this to was were what when where which who why will with you your").split(" "));
const WORD = /[\p{L}\p{N}_]+/gu;
const ENDINGS = ["ingly", "edly", "ings", "ing", "ied", "ies", "ed", "es", "ly", "s", "e", "y"];
const SHORTEST = 3;  // characters of a word that an ending may leave

// not the index's own stemmer, but its kin: what it finds is marked
export function stem(word) {
  const plain = word.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  const ending = ENDINGS.find((one) => plain.endsWith(one) && plain.length - one.length >= SHORTEST);
  const left = ending ? plain.slice(0, -ending.length) : plain;
  return left.length > SHORTEST && left.at(-1) === left.at(-2) ? left.slice(0, -1) : left;
}

// the stems that a query asks for; where it is read as a person's, what it excludes or filters by is not among them
export function stems(query, understood) {
  const asked = understood ? query.replace(/(^|\s)-("[^"]*"|\S+)/g, " ").replace(/(^|\s)[\w.]+:("[^"]*"|\S+)/g, " ") : query;
  const words = asked.match(WORD) ?? [];
  const telling = words.filter((word) => !EMPTY.has(word.toLowerCase()) && (word.length > 1 || /\p{N}/u.test(word)));
  return new Set((telling.length ? telling : words).map(stem));
}

// the text in pieces, [piece, whether it is a word of the query]
export function pieces(text, wanted) {
  const found = [];
  let before = 0;
  for (const match of text.matchAll(WORD)) {
    if (!wanted.has(stem(match[0]))) continue;
    if (match.index > before) found.push([text.slice(before, match.index), false]);
    found.push([match[0], true]);
    before = match.index + match[0].length;
  }
  if (before < text.length) found.push([text.slice(before), false]);
  return found;
}
