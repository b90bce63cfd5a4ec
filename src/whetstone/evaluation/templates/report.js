(() => {
  "use strict";
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const touch = matchMedia("(pointer: coarse)").matches;
  const specs = new Map();
  const drawn = new Set();
  for (const script of document.querySelectorAll("script[data-figure]"))
    specs.set(script.dataset.figure, JSON.parse(script.textContent));

  // Colours are named in the figures ("var(--good)") and known only here: plotly itself cannot read CSS variables.
  const styles = getComputedStyle(document.documentElement);
  const colour = (value) =>
    Array.isArray(value) ? value.map(colour)
      : typeof value === "string" ? value.replace(/^var\((--[\w-]+)\)$/, (_, name) => styles.getPropertyValue(name).trim())
        : value;
  const coloured = (value) => {
    if (Array.isArray(value)) return value.map(coloured);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) =>
      [key, /color$/.test(key) ? colour(item) : coloured(item)]));
  };

  const axis = (own) => ({
    gridcolor: "var(--grid)", linecolor: "var(--line)", zeroline: false, ticks: "", automargin: true,
    tickfont: { color: "var(--muted)", size: 11.5 }, separatethousands: true, ...own,
    title: { standoff: 10, ...(own.title || {}), font: { color: "var(--muted)", size: 12 } },
  });
  const layout = (own, height) => ({
    font: { family: styles.getPropertyValue("--sans"), size: 12, color: "var(--ink)" },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 8, r: 14, t: 28, b: 8, autoexpand: true },
    hoverlabel: { bgcolor: "var(--card)", bordercolor: "var(--muted)", align: "left", font: { color: "var(--ink)", size: 12 } },
    legend: { orientation: "h", x: 0, y: 1.02, xanchor: "left", yanchor: "bottom", font: { size: 11, color: "var(--muted)" } },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: "var(--muted)", activecolor: "var(--accent)" },
    dragmode: touch ? false : "zoom", ...own, height,
    xaxis: axis(own.xaxis || {}), yaxis: axis(own.yaxis || {}),
  });
  const config = {
    responsive: true, displaylogo: false, displayModeBar: matchMedia("(hover: hover)").matches,
    modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]],
  };

  const logarithmic = new Set();
  const onLogarithm = (own) => {
    const range = own.range && own.range.map((end, i) => Math.log10(i ? end : Math.max(end, own.least)));
    return { ...own, type: "log", range, dtick: "D2" };
  };
  const draw = (id) => {
    const element = document.getElementById(id);
    const spec = specs.get(id);
    let own = spec.layout;
    if (logarithmic.has(id)) {
      const least = Math.min(...spec.data.flatMap((trace) => [...trace.x, ...trace.y])) * 0.9;
      own = { ...own, xaxis: onLogarithm({ ...own.xaxis, least }), yaxis: onLogarithm({ ...own.yaxis, least }) };
    }
    const narrow = element.clientWidth < 480;
    const data = spec.data.map((trace) => (narrow && trace.meta ? { ...trace, text: trace.meta.narrow } : trace));
    drawn.add(id);
    Plotly.react(element, coloured(data), coloured(layout(own, element.clientHeight)), config)
      // The figure is told in words before it; its hundreds of labels would only be noise to a screen reader.
      .then(() => element.querySelectorAll("svg.main-svg").forEach((svg) => svg.setAttribute("aria-hidden", "true")));
  };

  // A figure is drawn when it comes near the screen: a page with many runs opens at once.
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries)
      if (entry.isIntersecting) { watcher.unobserve(entry.target); draw(entry.target.id); }
  }, { rootMargin: "800px" });
  for (const id of specs.keys()) watcher.observe(document.getElementById(id));
  dark.addEventListener("change", () => drawn.forEach(draw));
  addEventListener("beforeprint", () => {
    document.querySelectorAll("details").forEach((details) => { details.open = true; });
    for (const id of specs.keys()) if (!drawn.has(id)) draw(id);
  });
  for (const button of document.querySelectorAll("[data-logarithmic]"))
    button.addEventListener("click", () => {
      const id = button.dataset.logarithmic;
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(on));
      on ? logarithmic.add(id) : logarithmic.delete(id);
      draw(id);
    });
})();
