// Filters: rows of field, operator and value, and the operator dictionary that the service takes. Knows no element.

export const OPERATORS = [
  ["$eq", "is"], ["$ne", "is not"], ["$gt", "is above"], ["$gte", "is at least"], ["$lt", "is below"], ["$lte", "is at most"],
  ["$in", "is one of"], ["$nin", "is none of"], ["$exists", "is there"], ["$missing", "is not there"],
  ["$contains", "passage contains"], ["$not_contains", "passage does not contain"],
];
const OF_PASSAGE = new Set(["$contains", "$not_contains"]);
const ALONE = new Set(["$exists", "$missing"]);
const LISTS = new Set(["$in", "$nin"]);

export const needsField = (operator) => !OF_PASSAGE.has(operator);
export const needsValue = (operator) => !ALONE.has(operator);
export const takesList = (operator) => LISTS.has(operator);

// as on the command line: true, false and numbers are what they look like, quotes force text
export function value(written) {
  const text = written.trim();
  if (text.length >= 2 && text[0] === text.at(-1) && `"'`.includes(text[0])) return text.slice(1, -1);
  if (text === "true" || text === "false") return text === "true";
  if (/^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$/.test(text)) {
    const number = Number(text);
    // a number that JSON would carry as another one stays the text it is
    return Number.isInteger(number) && !Number.isSafeInteger(number) ? text : number;
  }
  return text;
}

// a value as it must be written to be read back as itself
export function written(given) {
  if (typeof given !== "string") return String(given);
  return value(given) === given ? given : `"${given}"`;
}

export function complete({field, operator, value: given}) {
  return (!needsField(operator) || field.trim() !== "") && (!needsValue(operator) || given.trim() !== "");
}

function clause({field, operator, value: given}) {
  if (OF_PASSAGE.has(operator)) return {[operator]: given.trim()};
  const name = field.trim();
  if (ALONE.has(operator)) return {[name]: {$exists: operator === "$exists"}};
  if (LISTS.has(operator)) return {[name]: {[operator]: split(given).map(value)}};
  return {[name]: {[operator]: value(given)}};
}

// at commas that stand outside quotes
function split(given) {
  return (given.match(/\s*("[^"]*"|'[^']*'|[^,]+)/g) ?? []).map((one) => one.trim()).filter(Boolean);
}

export function dictionary(rows, any) {
  const clauses = rows.filter(complete).map(clause);
  if (clauses.length < 2) return clauses[0] ?? null;
  return any ? {$or: clauses} : {$and: clauses};
}
