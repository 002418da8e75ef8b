"use strict";
(() => {
  document.getElementById("theme").addEventListener("click", () => {
    localStorage.setItem("theme", document.documentElement.dataset.theme);
  });

  // Exports have the light colours and a white ground, as paper does.
  const { figures } = JSON.parse(document.getElementById("figure-data").textContent);
  for (const button of document.querySelectorAll("button[data-image]")) {
    button.addEventListener("click", () => {
      const { figure, image } = button.dataset;
      const { data, layout } = figures[figure];
      const paper = { ...layout, paper_bgcolor: "#ffffff", plot_bgcolor: "#ffffff" };
      const width = document.getElementById(`plot-${figure}`).clientWidth;
      Plotly.downloadImage(
        { data, layout: paper },
        { format: image, filename: figure, width, height: layout.height, scale: image === "png" ? 2 : 1 },
      );
    });
  }
})();
