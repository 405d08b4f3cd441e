"use strict";
// Long names that stand side by side on a desk stand below each other on a phone.
function narrow(node) {
  if (node === null || typeof node !== "object") return;
  if (node.legend && node.legend.columns > 1) node.legend.columns = 1;
  Object.values(node).forEach(narrow);
}
// Draws the charts below `root` that are not drawn yet: pages that change call it again.
window.drawCharts = root => {
  for (const box of root.querySelectorAll(".chart[data-name]:not([data-drawn])")) {
    box.dataset.drawn = "";
    const still = box.querySelector("img");
    const file = document.getElementById(box.dataset.name + "-spec-svg");
    file.href = still.src;
    file.hidden = false;
    const content = document.getElementById(box.dataset.name + "-spec");
    if (!window.vegaEmbed || !content) continue;
    const spec = JSON.parse(content.textContent);
    const room = box.clientWidth - 20;
    if ("facet" in spec) {
      const panels = Number(box.dataset.panels);
      spec.columns = Math.max(1, Math.min(panels, Math.floor(room / (spec.spec.width + 60))));
      if ("stretch" in box.dataset) spec.spec.width = Math.min(420, Math.floor(room / spec.columns) - 75);
    } else if ("stretch" in box.dataset) {
      spec.width = "container";
    }
    // Names may take a third of a phone's width, not more.
    spec.config.axisY = {labelLimit: Math.min(240, Math.round(room * .36))};
    spec.config.legend.labelLimit = Math.min(300, room - 60);
    if (room < 520) {
      narrow(spec);
      spec.config.axisX = {titleAnchor: "end"};
    }
    const live = document.createElement("div");
    box.append(live);
    still.hidden = true;
    const options = {mode: "vega-lite", renderer: "svg", ast: true, actions: false, defaultStyle: false,
                     logLevel: 1, tooltip: {disableDefaultStyle: true}};
    vegaEmbed(live, spec, options).then(
      () => { box.dataset.drawn = "live"; },
      error => { live.remove(); still.hidden = false; box.dataset.drawn = "still"; console.warn(String(error)); });
  }
};
window.drawCharts(document);
