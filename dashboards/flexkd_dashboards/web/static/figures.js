"use strict";
(() => {
  const { darkOfLight, figures } = JSON.parse(document.getElementById("figure-data").textContent);
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const systemDark = matchMedia("(prefers-color-scheme: dark)");
  const hidden = new Map(Object.keys(figures).map((name) => [name, new Set()]));
  const config = {
    responsive: true,
    displaylogo: false,
    displayModeBar: "hover",
    modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]],
  };

  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : systemDark.matches);

  // Figures come in the light colours; in the dark each colour has exactly one other.
  const painted = (value) => {
    if (typeof value === "string") return isDark() ? (darkOfLight[value] ?? value) : value;
    if (Array.isArray(value)) return value.map(painted);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, painted(inner)]));
  };

  const draw = (name) => {
    const { data, layout } = painted(figures[name]);
    for (const trace of data) trace.visible = !hidden.get(name).has(trace.legendgroup);
    // A finger that scrolls the page must not zoom the figure.
    if (matchMedia("(pointer: coarse)").matches) layout.dragmode = false;
    return Plotly.react(`plot-${name}`, data, layout, config);
  };

  const show = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`);
    Object.keys(figures).forEach(draw);
  };

  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    show();
  });
  systemDark.addEventListener("change", show);

  for (const entry of document.querySelectorAll(".key button")) {
    entry.addEventListener("click", () => {
      const { figure, group } = entry.dataset;
      const groups = hidden.get(figure);
      if (!groups.delete(group)) groups.add(group);
      entry.setAttribute("aria-pressed", String(!groups.has(group)));
      draw(figure);
    });
  }

  button.hidden = false;
  show();
})();
