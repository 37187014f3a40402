"use strict";

// Prompts: only rows that hold every word.
const search = document.querySelector("input[type=search]");
if (search) {
  const shown = (row) => [...row.cells].filter((cell) => cell.className !== "way").map((cell) => cell.textContent).join(" ");
  const rows = [...document.querySelectorAll("#prompts tbody tr")].map((row) => [row, shown(row).toLowerCase()]);
  const count = document.querySelector("#prompts output");
  search.addEventListener("input", () => {
    const words = search.value.toLowerCase().split(/\s+/);
    let found = 0;
    for (const [row, text] of rows) {
      row.hidden = !words.every((word) => text.includes(word));
      found += !row.hidden;
    }
    count.value = `${found} of ${rows.length}`;
  });
}

// Timeline: the values at the pointer, in all lanes, read off the paths that are drawn.
const timeline = document.querySelector(".timeline");
if (timeline) {
  const seconds = Number(timeline.dataset.seconds);
  const now = timeline.querySelector(".now");
  const lanes = [...timeline.querySelectorAll(".plot")].map((plot) => {
    const told = document.getElementById(plot.getAttribute("aria-labelledby")).querySelector("dd");
    return { path: plot.querySelector("path.line"), unit: plot.dataset.unit, told, whole: told.textContent };
  });

  const steps = (lane) => {
    if (!lane.times) {
      const found = [...lane.path.getAttribute("d").matchAll(/H([^HV]+)V([^HV]+)/g)];
      lane.times = found.map((step) => Number(step[1]));
      lane.values = found.map((step) => Number(step[2]));
    }
    return lane;
  };
  const valueAt = (lane, t) => {
    const { times, values } = steps(lane);
    let low = 0, high = times.length; // the number of steps until t
    while (low < high) {
      const middle = (low + high) >> 1;
      if (times[middle] <= t) low = middle + 1;
      else high = middle;
    }
    return low ? values[low - 1] : 0;
  };

  let due = 0;
  timeline.addEventListener("pointermove", (event) => {
    const plots = event.target.closest(".plots");
    if (!plots) return;
    const box = plots.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    cancelAnimationFrame(due);
    due = requestAnimationFrame(() => {
      const t = Math.min(share * seconds, seconds * 0.99999); // the last step of a path only closes it
      timeline.style.setProperty("--at", share);
      timeline.style.setProperty("--seen", 1);
      now.textContent = `at ${t.toFixed(2)} s`;
      for (const lane of lanes) lane.told.textContent = `${Number(valueAt(lane, t).toPrecision(3))} ${lane.unit}`;
    });
  });
  timeline.addEventListener("pointerleave", () => {
    cancelAnimationFrame(due);
    timeline.style.setProperty("--seen", 0);
    now.textContent = "";
    for (const lane of lanes) lane.told.textContent = lane.whole;
  });
}
