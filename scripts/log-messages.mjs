// Writes the messages of docs/logs.md from the sources: what the tunnel logs is what the page says. With --check it only says what is amiss.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const page = join(root, "docs", "logs.md");
const BEGIN = "<!-- messages: written by scripts/log-messages.mjs -->";
const END = "<!-- end of messages -->";
const inOrder = (a, b) => (a < b ? -1 : Number(a > b));
const LEVELS = ["error", "warn", "info", "debug"];

/** Where the text that begins at `at` (behind an opening bracket) ends: at the bracket's partner, or at a comma on its level. */
function endOf(source, at, stops) {
  let depth = 0;
  for (let i = at; i < source.length; i++) {
    const character = source[i];
    if (character === '"' || character === "'" || character === "`") i = endOfString(source, i);
    else if ("([{".includes(character)) depth++;
    else if (depth === 0 && stops.includes(character)) return i;
    else if (")]}".includes(character)) depth--;
  }
  throw new Error("a bracket without a partner");
}

function endOfString(source, at) {
  const quote = source[at];
  for (let i = at + 1; i < source.length; i++) {
    if (source[i] === "\\") i++;
    else if (quote === "`" && source.startsWith("${", i)) i = endOf(source, i + 2, "}");
    else if (source[i] === quote) return i;
  }
  throw new Error("a string without an end");
}

/** The texts that an expression may be; what is put into them is an ellipsis. Texts that the program only compares are left out. */
function textsOf(expression) {
  const texts = [];
  for (let i = 0; i < expression.length; i++) {
    if (!"\"'`".includes(expression[i])) continue;
    const end = endOfString(expression, i);
    const before = expression.slice(0, i).trimEnd();
    const text = literal(expression.slice(i + 1, end));
    if (before.endsWith("+")) texts.push(`${texts.pop() ?? ""}${text}`);
    else if (!before.endsWith("===") && !before.endsWith("!==") && !before.endsWith("[")) texts.push(text);
    i = end;
  }
  return texts;
}

function literal(inside) {
  let text = "";
  for (let i = 0; i < inside.length; i++) {
    if (inside.startsWith("${", i)) {
      text += "…";
      i = endOf(inside, i + 2, "}");
    } else if (inside[i] === "\\") text += inside[++i];
    else text += inside[i];
  }
  return text;
}

/** Names of an object literal's own fields. */
function namesOf(expression) {
  const names = [];
  for (let at = expression.indexOf("{") + 1; at > 0 && at < expression.length; ) {
    const end = endOf(expression, at, ",}");
    const name = /^\s*(\w+)\s*(?::|$)/.exec(expression.slice(at, end))?.[1];
    if (name !== undefined) names.push(name);
    if (expression[end] === "}") break;
    at = end + 1;
  }
  return names;
}

const CALL = /(?:\b(?:logger|log|late)|#logger|\.logger)\??\.(debug|info|warn|error)\(/g;

function callsOf(source) {
  return [...source.matchAll(CALL)].flatMap((match) => {
    const at = match.index + match[0].length;
    const comma = endOf(source, at, ",)");
    const fields = source[comma] === "," ? source.slice(comma + 1, endOf(source, comma + 1, ")")).trim() : "";
    return textsOf(source.slice(at, comma)).map((message) => ({
      level: match[1],
      message,
      fields: fields.startsWith("{") ? namesOf(fields) : [],
    }));
  });
}

/** The mock edge's own log is for whoever looks at it. */
const sources = readdirSync(join(root, "src"), { recursive: true })
  .filter((name) => name.endsWith(".ts") && !name.startsWith("mock-edge") && name !== "cli/mock-edge.ts")
  .toSorted(inOrder);
const byMessage = new Map();
for (const name of sources) {
  for (const { level, message, fields } of callsOf(readFileSync(join(root, "src", name), "utf8"))) {
    const key = `${LEVELS.indexOf(level)}${message}`;
    const known = byMessage.get(key) ?? { level, message, fields: new Set() };
    for (const field of fields) known.fields.add(field);
    byMessage.set(key, known);
  }
}
const messages = [...byMessage].toSorted(([a], [b]) => inOrder(a, b)).map(([, entry]) => entry);
const cell = (text) => text.replaceAll("|", "\\|");
const rows = messages.map(({ fields, level, message }) => {
  const names = [...fields].toSorted(inOrder).map((name) => `\`${name}\``);
  return `| ${level} | ${cell(message)} | ${names.join(", ")} |`;
});
const table = `${BEGIN}\n\n| Level | Message | Fields |\n| --- | --- | --- |\n${rows.join("\n")}\n\n${END}`;

const written = readFileSync(page, "utf8");
const [head = "", rest = ""] = written.split(BEGIN);
const fresh = `${head}${table}${rest.split(END)[1] ?? ""}`;
const described = new Set(
  [...head.matchAll(/^\| ((?:`\w+`(?:, )?)+) \|/gm)].flatMap(([, names]) => names.match(/\w+/g)),
);
const used = new Set(messages.flatMap(({ fields }) => [...fields]));
const undescribed = [...used].filter((name) => !described.has(name)).toSorted(inOrder);

if (process.argv.includes("--check")) {
  const problems = undescribed.map((name) => `docs/logs.md does not describe the field ${name}`);
  if (fresh !== written)
    problems.push("docs/logs.md does not list the messages as they are: node scripts/log-messages.mjs");
  for (const problem of problems) console.error(problem);
  process.exitCode = problems.length === 0 ? 0 : 1;
} else {
  writeFileSync(page, fresh);
  if (undescribed.length > 0) console.error(`to be described: ${undescribed.join(", ")}`);
}
