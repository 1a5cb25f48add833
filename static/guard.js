// SPDX-License-Identifier: Apache-2.0
// Ticks that aren't saved aren't lost in silence when the page is left.
"use strict";

(() => {
  let hasUnsaved = false;

  document.addEventListener("change", (event) => {
    if (event.target.form?.matches("[data-guard]")) hasUnsaved = true;
  });
  document.addEventListener("submit", (event) => {
    if (event.target.matches("[data-guard]")) hasUnsaved = false;
  });
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-discards]")) hasUnsaved = false;
  });
  addEventListener("beforeunload", (event) => {
    const bar = document.querySelector(".savebar"); // says whether ticks differ from what is saved
    if (hasUnsaved && (!bar || bar.matches(".is-pending"))) event.preventDefault();
  });
})();
