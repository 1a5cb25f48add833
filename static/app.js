// SPDX-License-Identifier: Apache-2.0
// What pages gain with JavaScript; every page works without it. No inline script, no eval.
"use strict";

(() => {
  const $ = (selector, root = document) => root.querySelector(selector);

  // ---- notices: HX-Trigger {"notify": {"kind": "ok", "text": "Saved."}} shows one.
  function notify(kind, text) {
    const template = $("#notice-template");
    const notice = template.content.firstElementChild.cloneNode(true);
    notice.classList.add(kind);
    $("use", notice).setAttribute("href", template.dataset.icons + "#" + kind);
    $(".notice-title", notice).textContent = text;
    $("#notices").replaceChildren(notice);
  }

  document.addEventListener("notify", (event) => {
    const kinds = ["ok", "info", "warn", "error"];
    const { kind, text, value } = event.detail;
    notify(kinds.includes(kind) ? kind : "info", String(text ?? value ?? ""));
  });

  // ---- buttons that only JavaScript can serve are hidden until now.
  function enhance(root) {
    for (const button of root.querySelectorAll("[data-reveal], [data-copy]")) button.hidden = false;
  }

  function reveal(button) {
    const isShown = button.getAttribute("aria-pressed") === "true";
    for (const id of button.dataset.reveal.split(" ")) {
      document.getElementById(id).type = isShown ? "password" : "text";
    }
    button.setAttribute("aria-pressed", String(!isShown));
  }

  async function copy(button) {
    const source = document.getElementById(button.dataset.copy);
    const text = source.textContent;
    let isDone = await navigator.clipboard?.writeText(text).then(() => true, () => false);
    if (!isDone) {
      // Plain http has no clipboard API: select the text and copy the old way.
      getSelection().selectAllChildren(source);
      isDone = document.execCommand("copy");
    }
    const label = $("[data-label]", button);
    label.textContent = isDone ? "Copied" : "Selected: press Ctrl+C";
    setTimeout(() => { label.textContent = label.dataset.label; }, 4000);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-reveal], [data-copy], .dismiss");
    if (button?.matches(".dismiss")) button.closest(".notice").remove();
    else if (button?.dataset.reveal) reveal(button);
    else if (button?.dataset.copy) copy(button);
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });

  document.addEventListener("keydown", (event) => {
    const menu = event.key === "Escape" && $("details.menu[open]");
    if (menu) {
      menu.open = false;
      $("summary", menu).focus();
    }
  });

  // ---- a form is sent once; again after ten seconds, or on coming back to the page.
  const sent = new Set();

  document.addEventListener("submit", (event) => {
    if (event.defaultPrevented) return; // htmx sends it
    if (sent.has(event.target)) return event.preventDefault();
    sent.add(event.target);
    setTimeout(() => sent.delete(event.target), 10000);
  });
  addEventListener("pageshow", () => sent.clear());

  // ---- polls: marked for the server, silent in hidden tabs, slower while the server is down.
  const waits = new Map(); // path -> {failures, until}
  let run = $("#import-pill")?.dataset.run;

  document.addEventListener("htmx:configRequest", (event) => {
    if (event.detail.elt.hasAttribute("data-poll")) event.detail.headers["Slipway-Poll"] = "1";
  });

  document.addEventListener("htmx:beforeRequest", (event) => {
    if (!event.detail.elt.hasAttribute("data-poll")) return;
    const wait = waits.get(event.detail.pathInfo.requestPath);
    if (document.hidden || (wait && Date.now() < wait.until)) event.preventDefault();
  });

  function failed(event) {
    // The pill's next answer makes it ask again.
    if (event.detail.elt.matches('[hx-trigger^="import-changed"]')) return void (run = null);
    const path = event.detail.pathInfo.requestPath;
    const failures = (waits.get(path)?.failures ?? 0) + 1;
    waits.set(path, { failures, until: Date.now() + 1000 * Math.min(60, 2 ** failures) });
    $("#offline").hidden = false;
  }

  document.addEventListener("htmx:sendError", failed);
  document.addEventListener("htmx:timeout", failed);
  document.addEventListener("htmx:responseError", (event) => {
    if (event.detail.xhr.status >= 500) failed(event);
  });
  document.addEventListener("htmx:afterOnLoad", (event) => {
    if (event.detail.xhr.status >= 500) return;
    waits.delete(event.detail.pathInfo.requestPath);
    $("#offline").hidden = waits.size === 0;
  });

  // ---- what a visitor opened or closed stays so when a poll replaces the part.
  let opened = new Map(); // id -> open

  document.addEventListener("htmx:beforeSwap", (event) => {
    const all = event.detail.target?.querySelectorAll?.("details[id][data-touched]") ?? [];
    opened = new Map([...all].map((details) => [details.id, details.open]));
  });

  document.addEventListener("htmx:afterSwap", () => {
    for (const [id, isOpen] of opened) {
      const details = document.getElementById(id);
      if (details) Object.assign(details, { open: isOpen }).dataset.touched = "";
    }
  });

  document.addEventListener("click", (event) => {
    const details = event.target.closest("summary")?.parentElement;
    if (details?.id) details.dataset.touched = "";
  });

  // ---- what a part has to say is read out when it changes, and only then; the focus stays.
  const said = new Map(); // id of the part -> its sentence

  function announce(isAloud) {
    for (const part of document.querySelectorAll("[data-announce]")) {
      const text = part.dataset.announce;
      if (isAloud && text && said.get(part.id) !== text) $("#announcer").textContent = text;
      said.set(part.id, text);
    }
  }

  // ---- after a swap: new buttons work, the first wrong field or the answer has the focus, and
  // parts that show imports ask again when the pill says that one began or ended.
  document.addEventListener("htmx:afterSettle", (event) => {
    enhance(event.target);
    announce(true);
    ($('[aria-invalid="true"]', event.target) ?? $("[data-focus]", event.target))?.focus();
    const now = $("#import-pill")?.dataset.run;
    if (now !== run) document.body.dispatchEvent(new CustomEvent("import-changed"));
    run = now;
  });

  enhance(document);
  announce(false);
})();
