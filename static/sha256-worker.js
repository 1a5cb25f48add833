// SPDX-License-Identifier: Apache-2.0
// SHA-256 of a file beside its upload: browsers have no streaming digest of their own.
// This script alone may compile WebAssembly; see middleware.py.
"use strict";

importScripts("vendor/sha256-4.13.0.umd.min.js");

onmessage = async ({ data: file }) => {
  const hash = await hashwasm.createSHA256();
  hash.init();
  const piece = 4 * 1024 * 1024;
  for (let start = 0; start < file.size; start += piece) {
    hash.update(new Uint8Array(await file.slice(start, start + piece).arrayBuffer()));
    postMessage({ done: Math.min(start + piece, file.size) });
  }
  postMessage({ digest: hash.digest("hex") });
};
