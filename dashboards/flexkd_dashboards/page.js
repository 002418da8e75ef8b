"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figure-data").textContent);
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const systemDark = matchMedia("(prefers-color-scheme: dark)");
  const REACH = 28; // px of the drawing between the pointer and the point that it shows

  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : systemDark.matches);
  const label = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`);
  };
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    label();
  });
  systemDark.addEventListener("change", label);
  button.hidden = false;
  label();

  for (const [name, { texts, ...widths }] of Object.entries(figures)) {
    const plot = document.getElementById(`plot-${name}`);
    const off = new Set();

    for (const entry of document.querySelectorAll(`#figure-${name} .key button`)) {
      entry.addEventListener("click", () => {
        const { group } = entry.dataset;
        if (!off.delete(group)) off.add(group);
        entry.setAttribute("aria-pressed", String(!off.has(group)));
        for (const trace of plot.querySelectorAll(".trace")) {
          trace.classList.toggle("off", off.has(trace.dataset.group));
        }
      });
    }

    const tip = document.createElement("div");
    tip.className = "tip";
    tip.setAttribute("aria-hidden", "true"); // the tables have the values
    tip.hidden = true;
    plot.append(tip);
    for (const svg of plot.querySelectorAll("svg")) {
      const points = widths[svg.classList.contains("wide") ? "wide" : "narrow"];
      const show = (event) => {
        const box = svg.getBoundingClientRect();
        const scale = svg.viewBox.baseVal.width / box.width;
        const [left, top] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
        let nearest = null;
        let least = REACH;
        for (const [x, y, text] of points) {
          const distance = Math.hypot(x - left, y - top);
          if (distance < least && !off.has(texts[text][0])) {
            [nearest, least] = [[x, y, texts[text][1]], distance];
          }
        }
        tip.hidden = nearest === null;
        if (nearest === null) return;
        const [x, y, text] = nearest;
        tip.textContent = text;
        const onRight = x / scale > box.width / 2;
        tip.style.left = onRight ? "auto" : `${x / scale + 12}px`;
        tip.style.right = onRight ? `${box.width - x / scale + 12}px` : "auto";
        tip.style.top = `${Math.max(0, y / scale - 12)}px`;
      };
      svg.addEventListener("pointermove", show);
      svg.addEventListener("pointerdown", show);
      svg.addEventListener("pointerleave", () => { tip.hidden = true; });
    }
  }
})();
