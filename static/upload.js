// SPDX-License-Identifier: Apache-2.0
// Uploads with JavaScript: inspect the file first, send it by tus, pause, resume after a reload.
"use strict";

(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const form = $("#upload-form");
  if (!form || !window.tus || !tus.isSupported) return;
  const headers = JSON.parse(document.body.getAttribute("hx-headers"));
  const fields = ["name", "title", "architecture", "filetype"];
  const touched = new Set(); // what the user chose is never overwritten
  const LOOK = 1024 * 1024;
  const HEAD_START = 3000; // ms in which hashing may show that nothing has to be sent
  const DAMAGED = 460; // tus: the checksum of a piece does not match
  let upload = null;
  let restart = () => {};
  let looking = 0;

  const input = form.elements.file;
  const size = (bytes) => {
    const units = ["bytes", "kB", "MB", "GB", "TB"];
    let step = 0;
    while (bytes >= 1000 && step < 4) { bytes /= 1000; step += 1; }
    return `${bytes.toFixed(step ? 1 : 0)} ${units[step]}`;
  };
  const time = (seconds) => {
    if (!Number.isFinite(seconds)) return "";
    if (seconds < 90) return `${Math.ceil(seconds)} s left`;
    if (seconds < 5400) return `${Math.ceil(seconds / 60)} min left`;
    return `${(seconds / 3600).toFixed(1)} h left`;
  };
  const wait = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
  const say = (kind, text) => {
    document.dispatchEvent(new CustomEvent("notify", { detail: { kind, text } }));
  };

  // ---- what is it?
  async function look() {
    const file = input.files[0];
    if (!file) return;
    const turn = ++looking;
    const said = new URLSearchParams({ size: file.size });
    for (const name of fields) said.set(name, form.elements[name].value);
    if (!touched.has("filetype")) said.delete("filetype");
    const answer = await fetch(`${form.dataset.look}?${said}`, {
      method: "POST",
      headers: { ...headers, "HX-Request": "true", "Content-Type": "application/octet-stream" },
      body: file.slice(0, LOOK),
    });
    if (!answer.ok || turn !== looking) return;
    const part = document.createElement("div");
    part.innerHTML = await answer.text();
    const verdict = $("#verdict", part);
    if (!verdict) return;
    $("#verdict").replaceWith(verdict);
    for (const name of fields) {
      const value = verdict.dataset["suggest" + name[0].toUpperCase() + name.slice(1)];
      if (value && !touched.has(name)) form.elements[name].value = value;
    }
    if (!form.elements.name.value && !touched.has("name")) {
      form.elements.name.value = file.name.replace(/(\.(tar|dd|raw|img|gz|xz|bz2|tgz|tbz|txz))+$/i, "")
        .replace(/[^A-Za-z0-9._+~-]+/g, "-").replace(/^[^A-Za-z0-9]+/, "").slice(0, 100);
      if (form.elements.name.value) return look(); // a name is judged too
    }
    $("#announcer").textContent = $(".what-it-is", verdict)?.textContent ?? "";
  }

  input.addEventListener("change", look);
  form.addEventListener("change", (event) => {
    if (!fields.includes(event.target.name)) return;
    touched.add(event.target.name);
    look();
  });
  form.addEventListener("click", (event) => {
    const button = event.target.closest("[data-fix]");
    if (!button) return;
    for (const [name, value] of Object.entries(JSON.parse(button.dataset.fix))) {
      form.elements[name].value = value;
      touched.add(name);
    }
    look();
  });

  // ---- drag a file in
  const drop = $("#drop");
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragenter" || kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files.length) {
        input.files = event.dataTransfer.files;
        look();
      }
    });
  }

  // ---- send
  function show(sent, total, began, before) {
    const bar = $("#sent");
    bar.max = total || 1;
    bar.value = sent;
    const seconds = (performance.now() - began) / 1000;
    const speed = seconds > 0.5 ? (sent - before) / seconds : 0;
    const parts = [`${size(sent)} of ${size(total)}`];
    if (speed > 0) parts.push(`${size(speed)}/s`, time((total - sent) / speed));
    $("#sent-note").textContent = parts.filter(Boolean).join(", ");
  }

  // ---- SHA-256: of the whole file, and of each piece on its way
  const asked = new Map();
  let hasher = null;
  function sha256(blob, progress = () => {}) {
    if (!hasher) {
      hasher = new Worker(form.dataset.worker);
      hasher.onerror = () => { // without a worker the server alone hashes
        for (const { resolve } of asked.values()) resolve(null);
        hasher.postMessage = ({ number }) => asked.get(number).resolve(null);
      };
      hasher.onmessage = ({ data }) => {
        if (data.done !== undefined) return asked.get(data.number).progress(data.done);
        asked.get(data.number).resolve(data.digest);
        asked.delete(data.number);
      };
    }
    return new Promise((resolve) => {
      const number = (sha256.last = (sha256.last ?? 0) + 1);
      asked.set(number, { resolve, progress });
      hasher.postMessage({ number, blob });
    });
  }

  async function hashWhole(file) {
    const note = $("#hash-note");
    const bytes = await sha256(file, (done) => {
      note.textContent = `SHA-256: ${Math.floor((done * 100) / (file.size || 1))} %`;
    });
    const hex = bytes && Array.from(bytes, (one) => one.toString(16).padStart(2, "0")).join("");
    note.textContent = hex ? `SHA-256: ${hex}` : "";
    return hex;
  }

  // Whether the store holds these bytes already. Then nothing more is sent.
  async function isKnown(digest, id) {
    const body = new URLSearchParams({ sha256: digest });
    const answer = await fetch(`/uploads/${id}/digest`, { method: "POST", headers, body });
    return answer.ok && (await answer.json()).state === "checking";
  }

  // Each piece goes with its own SHA-256, so that what is damaged on its way is sent again.
  class CheckedPieces extends tus.DefaultHttpStack {
    constructor(start) {
      super();
      this.start = start;
    }

    createRequest(method, url) {
      const request = super.createRequest(method, url);
      const send = request.send.bind(request);
      const abort = request.abort.bind(request);
      let isAborted = false;
      request.abort = () => {
        isAborted = true;
        return abort();
      };
      request.send = async (body) => {
        if (body) {
          await this.start;
          const bytes = await sha256(body);
          if (isAborted) return new Promise(() => {}); // as an aborted XMLHttpRequest: no answer
          if (bytes) {
            request.setHeader("Upload-Checksum", `sha256 ${btoa(String.fromCharCode(...bytes))}`);
          }
        }
        return send(body);
      };
      return request;
    }
  }

  function paused(isPaused) {
    $("#pause").textContent = isPaused ? "Resume" : "Pause";
    const bar = $("#sent");
    if (isPaused) $("#sent-note").textContent = `Paused. ${size(bar.value)} of ${size(bar.max)}`;
  }

  form.addEventListener("submit", async (event) => {
    const file = input.files[0];
    if (!file) return; // the server shows what is missing
    event.preventDefault();
    if (!form.reportValidity()) return;
    const metadata = { filename: file.name };
    for (const name of fields) metadata[name] = form.elements[name].value;
    let began = performance.now();
    let before = -1;
    restart = () => { // the speed is that since then
      before = -1;
      upload.start();
    };
    let id = "";
    let named;
    const address = new Promise((resolve) => { named = resolve; });
    const known = Promise.all([hashWhole(file), address]).then(async ([digest]) => {
      if (!digest || !(await isKnown(digest, id))) return;
      upload?.abort();
      location.assign(`/uploads/${id}`);
    }).catch(() => {}); // the server compares what arrived in any case
    upload = new tus.Upload(file, {
      endpoint: form.dataset.files,
      headers,
      metadata,
      chunkSize: 8 * 1024 * 1024,
      retryDelays: [0, 500, 1500, 3000, 6000, 12000, 20000, 30000],
      removeFingerprintOnSuccess: true,
      fingerprint: async (one) =>
        ["slipway", metadata.name, metadata.architecture, metadata.filetype, one.name, one.size,
          one.lastModified].join("|"),
      httpStack: new CheckedPieces(Promise.race([known, wait(HEAD_START)])),
      onShouldRetry: (error) => error.originalResponse?.getStatus() === DAMAGED
        || tus.defaultOptions.onShouldRetry(error),
      onUploadUrlAvailable: () => {
        id = upload.url.split("/").pop();
        named();
      },
      onProgress: (sent, total) => {
        if (before < 0) { before = sent; began = performance.now(); }
        show(sent, total, began, before);
      },
      onSuccess: () => location.assign(`/uploads/${id}`),
      onError: (error) => {
        const text = error.originalResponse?.getBody() || "";
        const words = text && !text.startsWith("{") ? text : "The connection was lost.";
        say("error", `${words} What arrived is kept. Select Resume to try again.`);
        paused(true);
        form.hidden = false;
        if (error.originalResponse && error.originalResponse.getStatus() < 409) upload = null;
      },
    });
    const earlier = await upload.findPreviousUploads();
    if (earlier.length) upload.resumeFromPreviousUpload(earlier[0]);
    form.hidden = true;
    $("#sending").hidden = false;
    paused(false);
    upload.start();
    $("#pause").focus();
  });

  $("#pause").addEventListener("click", () => {
    if (!upload) return;
    const isRunning = $("#pause").textContent === "Pause";
    if (isRunning) upload.abort();
    else restart();
    paused(isRunning);
  });

  // What the server has of the file is deleted, and the form is back as it was.
  $("#cancel").addEventListener("click", async () => {
    await upload?.abort(true).catch(() => {}); // gone already, or it expires there
    location.reload();
  });

  addEventListener("beforeunload", () => upload?.abort());
})();
