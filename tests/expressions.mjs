// GitHub's own lexer, parser and evaluator of `${{ }}` (github.com/actions/languageservices), a request a line:
//   {"expression", "contexts"?, "status"?, "workspace"?}  ->  {"value", "text", "truthy"} or {"error"}
//   {"names": expression}                                 ->  {"names": [["inputs", "mode"], …], "functions": […]}
// The functions that only the runner has are here (actions/runner, src/Runner.Worker/Expressions).
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Evaluator, Lexer, Parser, data } from "@actions/expressions";
import * as ast from "@actions/expressions/ast";

const CONTEXTS = ["github", "inputs", "env", "vars", "secrets", "steps", "needs", "jobs", "job", "runner", "strategy", "matrix"];
const STATUS = ["always", "success", "failure", "cancelled"];
const FUNCTIONS = [
  ...STATUS.map((name) => ({ name, minArgs: 0, maxArgs: 0 })),
  { name: "hashFiles", minArgs: 1, maxArgs: 255 },
];

const parse = (text) => new Parser(new Lexer(text).lex().tokens, CONTEXTS, FUNCTIONS).parse();

function evaluate({ expression, contexts = {}, status = {}, workspace }) {
  const functions = new Map(
    FUNCTIONS.map((info) => [
      info.name.toLowerCase(),
      { ...info, call: (...args) => runnerFunction(info.name, args, status, workspace) },
    ]),
  );
  const every = Object.fromEntries(CONTEXTS.map((name) => [name, contexts[name] ?? {}]));
  const context = JSON.parse(JSON.stringify(every), data.reviver);
  const found = new Evaluator(parse(expression), context, functions).evaluate();
  return {
    value: JSON.parse(JSON.stringify(found, data.replacer)),
    text: found.coerceString(),
    truthy: !falsy(found),
  };
}

function falsy(found) {
  switch (found.kind) {
    case data.Kind.Null:
      return true;
    case data.Kind.Boolean:
      return !found.value;
    case data.Kind.Number:
      return found.value === 0 || Number.isNaN(found.value);
    case data.Kind.String:
      return found.value === "";
    default:
      return false;
  }
}

function runnerFunction(name, args, status, workspace) {
  if (name !== "hashFiles") {
    return new data.BooleanData(name === "always" || Boolean(status[name]));
  }
  const files = args.map((each) => each.coerceString());
  if (files.some((file) => /[*?[!]/.test(file))) {
    throw new Error(`hashFiles with a pattern is not made here: ${files}`);
  }
  const there = files.map((file) => join(workspace, file)).filter((file) => existsSync(file));
  const digest = createHash("sha256");
  there.forEach((file) => digest.update(createHash("sha256").update(readFileSync(file)).digest()));
  return new data.StringData(there.length ? digest.digest("hex") : "");
}

// Each chain of names from a context on, as far as it is fixed: `needs.up.outputs['launched']`, `github.event.*`.
function namesOf(node, names = [], functions = []) {
  const path = pathOf(node);
  if (path) {
    names.push(path);
    for (let at = node; at instanceof ast.IndexAccess; at = at.expr) {
      if (!(at.index instanceof ast.Literal) && !(at.index instanceof ast.Star)) {
        namesOf(at.index, names, functions);
      }
    }
    return { names, functions };
  }
  if (node instanceof ast.FunctionCall) {
    functions.push(node.functionName.lexeme);
  }
  for (const below of [node.expr, node.index, node.left, node.right, node.group, ...(node.args ?? [])]) {
    if (below instanceof ast.Expr) {
      namesOf(below, names, functions);
    }
  }
  return { names, functions };
}

function pathOf(node) {
  if (node instanceof ast.ContextAccess) {
    return [node.name.lexeme];
  }
  const above = node instanceof ast.IndexAccess ? pathOf(node.expr) : null;
  if (!above) {
    return null;
  }
  return [...above, node.index instanceof ast.Literal ? node.index.literal.coerceString() : "*"];
}

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  let answer;
  try {
    answer = "names" in asked ? namesOf(parse(asked.names)) : evaluate(asked);
  } catch (error) {
    answer = { error: error.message };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
