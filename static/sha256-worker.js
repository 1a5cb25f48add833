// SPDX-License-Identifier: Apache-2.0
// SHA-256 beside an upload: browsers have no streaming digest of their own, and none at all
// for pages without HTTPS. This script alone may compile WebAssembly; see middleware.py.
// Asked with {number, blob}; answers {number, done} as it goes, and {number, digest} (bytes, or
// null when the blob can't be read).
"use strict";

importScripts("vendor/sha256-4.13.0.umd.min.js");

const PIECE = 4 * 1024 * 1024;

async function digest(number, blob) {
  const hash = await hashwasm.createSHA256();
  hash.init();
  for (let start = 0; start < blob.size; start += PIECE) {
    hash.update(new Uint8Array(await blob.slice(start, start + PIECE).arrayBuffer()));
    postMessage({ number, done: Math.min(start + PIECE, blob.size) });
  }
  return hash.digest("binary");
}

onmessage = async ({ data: { number, blob } }) => {
  postMessage({ number, digest: await digest(number, blob).catch(() => null) });
};
