// Draws the charts of a page from the options beside them. The library is loaded only where there is a chart; without it, or
// without scripts, the tables below say the same. Nothing here knows what a chart is about.
(() => {
  "use strict";
  const figures = [...document.querySelectorAll("figure.plot")];
  if (!figures.length) return;
  const MARK = "Contains generated values - says nothing of any province";
  const PICTURE = 960, HEAD = 52, FOOT = 46; // pixels of a saved picture: its width, its title, its source

  // What JSON cannot say, by name.
  const drawers = {
    whiskers(params, api) {
      const y = api.coord([api.value(1), api.value(0)])[1];
      const [left, right] = [api.coord([api.value(1), 0])[0], api.coord([api.value(2), 0])[0]];
      const style = { stroke: api.visual("color"), fill: null, lineWidth: 1.5 };
      const line = (x1, y1, x2, y2) => ({ type: "line", shape: { x1, y1, x2, y2 }, style });
      return { type: "group", children: [line(left, y, right, y), line(left, y - 4, left, y + 4), line(right, y - 4, right, y + 4)] };
    },
  };

  function load(src) {
    return new Promise((done, failed) => {
      if (window.echarts) return done();
      const script = document.createElement("script");
      script.src = src;
      script.onload = done;
      script.onerror = failed;
      document.head.append(script);
    });
  }

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function paint(forPaper) {
    const paper = { ink: "#17202a", soft: "#5b6b7b", line: "#d9e0e7", card: "#ffffff", accent: "#0b6e6e", tint: "#e3f3f1" };
    return forPaper ? paper : Object.fromEntries(Object.keys(paper).map((key) => [key, css("--" + key) || paper[key]]));
  }

  function axis(given, color) {
    const one = (axis) => ({
      ...axis,
      nameTextStyle: { color: color.soft, ...axis.nameTextStyle },
      axisLabel: { color: color.ink, ...axis.axisLabel },
      axisLine: { lineStyle: { color: color.line }, ...axis.axisLine },
      splitLine: { lineStyle: { color: color.line }, ...axis.splitLine },
    });
    return Array.isArray(given) ? given.map(one) : one(given);
  }

  function dressed(given, color, paper) {
    const option = structuredClone(given);
    for (const name of ["xAxis", "yAxis"]) if (option[name]) option[name] = axis(option[name], color);
    const room = ({ containLabel, ...grid }) => (containLabel ? { outerBoundsMode: "same", outerBoundsContain: "axisLabel", ...grid } : grid);
    if (option.grid) option.grid = Array.isArray(option.grid) ? option.grid.map(room) : room(option.grid);
    for (const series of option.series || []) {
      if (series.type === "custom") {
        series.renderItem = drawers[series.renderItem];
        series.itemStyle = { color: color.ink, ...series.itemStyle };
      }
      if (series.label) series.label = { color: color.ink, ...series.label };
      if (series.endLabel) series.endLabel = { color: color.ink, ...series.endLabel };
    }
    if (option.radar) {
      const line = { lineStyle: { color: color.line } };
      option.radar = { splitArea: { show: false }, splitLine: line, axisLine: line, ...option.radar };
      option.radar.axisName = { color: color.ink, fontSize: 11, ...option.radar.axisName };
    }
    if (option.visualMap) option.visualMap = { inRange: { color: [color.tint, color.accent] }, textStyle: { color: color.ink }, ...option.visualMap };
    if (option.legend) option.legend = { textStyle: { color: color.ink }, pageTextStyle: { color: color.ink }, ...option.legend };
    option.tooltip = { renderMode: "richText", confine: true, backgroundColor: color.card, borderColor: color.line, textStyle: { color: color.ink }, ...option.tooltip };
    option.color = option.color || [color.accent, "#c76b29", "#5567b5", "#a2a12c", "#9c4f7d", "#3f8f5b", "#7a7f87", "#b5473c"];
    option.textStyle = { fontFamily: 'system-ui, "Noto Sans SC", "Noto Sans CJK SC", sans-serif', color: color.ink };
    const many = (option.series || []).filter((one) => one.type === "bar").length > 1;
    option.aria = { enabled: true, decal: { show: many }, ...option.aria };
    option.animation = !paper && !matchMedia("(prefers-reduced-motion: reduce)").matches;
    option.animationDuration = 400;
    return option;
  }

  function draw(figure) {
    const box = figure.querySelector(".canvas");
    const given = JSON.parse(figure.querySelector('script[type="application/json"]').textContent);
    box.style.height = box.dataset.height + "px";
    const chart = echarts.init(box, null, { renderer: "svg" });
    const show = () => chart.setOption(dressed(given, paint(false), false), true);
    show();
    chart.on("click", ({ data }) => { if (data && /^\/(?!\/)/.test(data.link || "")) location.assign(data.link); });
    new ResizeObserver(() => chart.resize()).observe(box);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
    addEventListener("beforeprint", () => { chart.setOption(dressed(given, paint(true), true), true); chart.resize({ width: 680 }); chart.getZr().flush(); });
    addEventListener("afterprint", () => { show(); chart.resize({ width: "auto" }); });
    const button = figure.querySelector("button");
    button.hidden = false;
    button.addEventListener("click", () => save(figure, given, Number(box.dataset.height)));
    figure.dataset.drawn = "";
  }

  // A picture on white paper with what it shows, whose it is, and that values were generated where they were.
  function save(figure, given, height) {
    const place = document.createElement("div");
    const color = paint(true);
    const chart = echarts.init(place, null, { renderer: "canvas", width: PICTURE, height: height + HEAD + FOOT });
    const option = dressed(given, color, true);
    const words = [[figure.querySelector("figcaption span").textContent, 10, "bold 15px", color.ink]];
    const below = [figure.dataset.note, "synthetic" in figure.dataset ? MARK : ""].filter(Boolean);
    below.forEach((text, at) => words.push([text, height + HEAD + FOOT - 20 * (below.length - at), "12px", text === MARK ? "#a52a24" : color.soft]));
    const shift = (grid) => ({ ...grid, top: (Number(grid?.top) || 0) + HEAD, bottom: (Number(grid?.bottom) || 0) + FOOT });
    option.grid = Array.isArray(option.grid) ? option.grid.map(shift) : shift(option.grid);
    if (option.legend) option.legend.top = HEAD;
    if (option.visualMap) option.visualMap.bottom = 44;
    option.graphic = words.map(([text, top, font, fill]) => ({ type: "text", left: 12, top, style: { text, fill, width: PICTURE - 24, overflow: "break", lineHeight: 19, font: font + ' system-ui, "Noto Sans CJK SC", sans-serif' } }));
    chart.setOption(option);
    const link = document.createElement("a");
    link.href = chart.getDataURL({ type: "png", pixelRatio: 2, backgroundColor: "#fff" });
    link.download = figure.dataset.chart + ("synthetic" in figure.dataset ? "-synthetic" : "") + ".png";
    link.click();
    chart.dispose();
  }

  load(figures[0].dataset.library).then(() => figures.forEach(draw), () => {});
})();
