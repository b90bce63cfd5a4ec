"use strict";
const figures = JSON.parse(document.getElementById("figures").textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)").matches;
const ink = dark ? "#e7e8e5" : "#1c2126";
const grid = dark ? "#2d3338" : "#e2e1dc";
for (const [name, figure] of Object.entries(figures)) {
  const layout = {
    ...figure.layout,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: ink },
    colorway: dark ? ["#9aa4ad", "#7fc0dc"] : ["#8f979e", "#1d5872"],
  };
  for (const axis of ["xaxis", "yaxis"]) layout[axis] = { ...layout[axis], gridcolor: grid, zerolinecolor: grid };
  Plotly.newPlot(document.getElementById(name), figure.data, layout, { responsive: true, displaylogo: false });
}
