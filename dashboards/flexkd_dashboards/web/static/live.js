"use strict";
// Updates the blocks of a page that has `data-refresh`, without moving focus, scroll or selection.
(() => {
  const main = document.getElementById("main");
  const seconds = Number(main.dataset.refresh);
  if (!seconds) return;

  const button = document.createElement("button");
  const state = document.createElement("span");
  const bar = document.createElement("p");
  button.type = "button";
  bar.className = "live";
  bar.append(button, state);
  main.querySelector("h1").after(bar);
  let paused = false;
  let timer;

  const label = (text) => {
    button.textContent = paused ? "Resume updates" : "Pause updates";
    state.textContent = text;
  };

  // How to find an element again in new content: by its id, its link, or its name and value.
  const addressOf = (element) => {
    if (element.id) return `#${CSS.escape(element.id)}`;
    if (element.hasAttribute("href")) return `[href="${CSS.escape(element.getAttribute("href"))}"]`;
    const label = element.getAttribute("aria-label");
    if (label) return `[aria-label="${CSS.escape(label)}"]`;
    return element.localName;
  };

  const isInUse = (block) => {
    const selection = getSelection();
    if (!selection.isCollapsed && block.contains(selection.anchorNode)) return true;
    // Somebody fills in a form.
    return block.contains(document.activeElement) && document.activeElement.closest("form") !== null;
  };

  const replace = (block, next) => {
    const focused = block.contains(document.activeElement) ? addressOf(document.activeElement) : null;
    const scrolled = [...block.querySelectorAll("[tabindex]")].map((e) => [e.scrollLeft, e.scrollTop]);
    const open = [...block.querySelectorAll("details")].map((e) => e.open);
    block.replaceChildren(...next.childNodes);
    block.querySelectorAll("details").forEach((e, place) => { e.open = open[place] ?? e.open; });
    block.querySelectorAll("[tabindex]").forEach((e, place) => {
      if (scrolled[place]) [e.scrollLeft, e.scrollTop] = scrolled[place];
    });
    if (focused) block.querySelector(focused)?.focus({ preventScroll: true });
  };

  const update = async () => {
    const response = await fetch(location.href);
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    if (page.querySelectorAll("[data-live]").length !== document.querySelectorAll("[data-live]").length) {
      location.reload(); // another kind of view, such as that of the first job
      return;
    }
    // Written when the page was loaded, not as it looks now: `open` and the like are the reader's.
    for (const next of page.querySelectorAll("[data-live]")) {
      const block = document.getElementById(next.id);
      if (written.get(next.id) === next.innerHTML || isInUse(block)) continue;
      written.set(next.id, next.innerHTML);
      replace(block, next);
    }
    label(`updated ${new Date().toLocaleTimeString()}`);
  };

  const written = new Map();
  for (const block of document.querySelectorAll("[data-live]")) written.set(block.id, block.innerHTML);

  const tick = async () => {
    if (!paused && !document.hidden) {
      try {
        await update();
      } catch {
        label("the dashboard does not answer; trying again");
      }
    }
    timer = setTimeout(tick, 1000 * seconds);
  };

  button.addEventListener("click", () => {
    paused = !paused;
    clearTimeout(timer);
    label(paused ? "paused" : "");
    if (!paused) tick();
  });
  label(`every ${seconds} s`);
  timer = setTimeout(tick, 1000 * seconds);
})();
