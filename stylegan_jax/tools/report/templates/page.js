"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const byId = (id) => document.getElementById(id);

  // Plots: their colours are those of the page, which follows the system's light or dark.
  const plots = read("plots-data");
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const theme = () => {
    const axis = { gridcolor: color("--grid"), linecolor: color("--line"), tickcolor: color("--line") };
    return { ink: color("--ink"), card: color("--card"), line: color("--line"), axis };
  };
  const config = {
    responsive: true,
    displaylogo: false,
    displayModeBar: "hover",
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
    toImageButtonOptions: { format: "png", scale: 2 },
  };
  const draw = (number) => {
    const { data, layout } = plots[number];
    const { ink, card, line, axis } = theme();
    Object.assign(layout.xaxis, axis);
    Object.assign(layout.yaxis, axis);
    layout.font = { color: ink, family: getComputedStyle(document.body).fontFamily, size: 12 };
    layout.hoverlabel = { bgcolor: card, bordercolor: line, font: { color: ink } };
    layout.modebar = { bgcolor: "rgba(0,0,0,0)", color: color("--soft"), activecolor: ink };
    // A legend has as many rows as its words need.
    const names = data.filter((trace) => trace.showlegend !== false).map((trace) => trace.name);
    const room = byId(`plot-${number}`).clientWidth - 80;
    const wanted = names.reduce((sum, name) => sum + 7 * (name ?? "").length + 55, 0);
    const rows = names.length > 1 ? Math.max(1, Math.ceil((1.15 * wanted) / Math.max(room, 100))) : 0;
    layout.margin.b = 48 + 21 * rows;
    layout.height = 250 + layout.margin.b;
    layout.showlegend = rows > 0;
    return Plotly.react(`plot-${number}`, data, layout, config);
  };
  // One after the other: the page can be read and scrolled meanwhile.
  const drawAll = async () => {
    for (let number = 0; number < plots.length; number++) {
      await draw(number);
      await new Promise((resolve) => setTimeout(resolve));
    }
    document.body.dataset.drawn = plots.length;
  };
  drawAll();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  // On paper plots are as wide as their column: they scale as pictures do.
  const containers = () => [...document.querySelectorAll(".svg-container")];
  addEventListener("beforeprint", () => {
    document.querySelectorAll("details:not(#log details)").forEach((part) => (part.open = true));
    containers().forEach((part) => {
      const { clientWidth, clientHeight } = part;
      part.style.aspectRatio = `${clientWidth} / ${clientHeight}`;
      part.querySelectorAll(".main-svg").forEach((svg) => {
        svg.setAttribute("viewBox", `0 0 ${clientWidth} ${clientHeight}`);
      });
    });
  });
  addEventListener("afterprint", () => {
    containers().forEach((part) => {
      part.style.aspectRatio = "";
      part.querySelectorAll(".main-svg").forEach((svg) => svg.removeAttribute("viewBox"));
    });
  });

  // The film of sample grids: one clock for all runs; each shows its last grid until then.
  const films = read("films-data");
  films.forEach((film, run) => {
    if (film.length) film[film.length - 1].uri = byId(`grid-${run}`).src;
  });
  const times = [...new Set(films.flat().map((frame) => frame.kimg))].sort((a, b) => a - b);
  const slider = byId("time");
  const button = byId("play");
  const spell = (kimg) => `${kimg.toLocaleString("en", { maximumSignificantDigits: 6 })} kimg`;
  const show = (position) => {
    const now = times[position];
    films.forEach((film, run) => {
      if (!film.length) return;
      const frame = film.findLast((one) => one.kimg <= now) ?? film[0];
      const image = byId(`grid-${run}`);
      image.src = frame.uri;
      image.alt = image.alt.replace(/ at .* kimg$/, ` at ${spell(frame.kimg)}`);
      byId(`at-${run}`).textContent = spell(frame.kimg);
    });
    slider.value = position;
    slider.setAttribute("aria-valuetext", spell(now));
    byId("now").textContent = spell(now);
  };
  let timer = null;
  const stop = () => {
    clearInterval(timer);
    timer = null;
    button.textContent = "▶ Play";
    button.setAttribute("aria-pressed", "false");
  };
  const play = () => {
    if (timer !== null) return stop();
    if (Number(slider.value) === times.length - 1) show(0);
    button.textContent = "⏸ Pause";
    button.setAttribute("aria-pressed", "true");
    // Ten seconds for a long film, and no faster than the eye.
    timer = setInterval(() => {
      if (Number(slider.value) >= times.length - 1) return stop();
      show(Number(slider.value) + 1);
    }, Math.min(500, Math.max(80, 10000 / times.length)));
  };
  if (slider) {
    slider.max = times.length - 1;
    show(times.length - 1);
    slider.addEventListener("input", () => show(Number(slider.value)));
    button.addEventListener("click", play);
    // Keys work wherever the samples are in sight; the slider itself knows them anyway.
    const keys = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    addEventListener("keydown", (event) => {
      const busy = event.target.closest("input, button, a, summary, pre, dialog, .scroll");
      const place = byId("samples").getBoundingClientRect();
      const inSight = place.top < innerHeight && place.bottom > 0;
      if (busy || !inSight || event.altKey || event.ctrlKey || event.metaKey) return;
      if (event.key === " ") play();
      else if (event.key in keys) {
        const wanted = Number(slider.value) + keys[event.key];
        show(Math.min(Math.max(wanted, 0), times.length - 1));
      } else return;
      event.preventDefault();
    });
  }

  // Small pictures are enlarged by whole pixels, all others smoothly.
  const sharpen = (image) => {
    const shown = image.clientWidth * devicePixelRatio;
    image.classList.toggle("pixels", shown > 1.5 * image.naturalWidth);
  };
  const sizes = new ResizeObserver((found) => found.forEach(({ target }) => sharpen(target)));
  document.querySelectorAll(".picture img, #large img").forEach((image) => {
    image.addEventListener("load", () => sharpen(image));
    sizes.observe(image);
  });

  // Pictures at their full size.
  const large = byId("large");
  document.querySelectorAll(".picture").forEach((picture) => {
    picture.addEventListener("click", () => {
      const from = picture.querySelector("img");
      const to = large.querySelector("img");
      to.src = from.src;
      to.alt = from.alt;
      large.showModal();
    });
  });
  large.addEventListener("click", (event) => {
    if (event.target.tagName !== "BUTTON") large.close();
  });
})();
