"use strict";
// Filters and sorts what is on the page; without this script everything is shown, in its own order.
(() => {
  const root = document.documentElement;
  const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
  const FACETS = ["row", "task", "metric", "seed", "checkpoint"];
  const hidden = Object.fromEntries(FACETS.map((facet) => [facet, new Set()]));
  const chosen = { metric: "0", cost: null, seed: "0" };
  const status = document.getElementById("status");
  root.classList.add("js");

  // Which elements are off: any of their facets is unticked, or they belong to another choice.

  const filtered = all(FACETS.map((facet) => `[data-${facet}]`).join(", "));
  const choices = all("[data-chosen-metric], [data-chosen-cost], [data-picture-seed]");

  function isOff(element) {
    const data = element.dataset;
    return (
      FACETS.some((facet) => facet in data && hidden[facet].has(data[facet])) ||
      ("chosenMetric" in data && data.chosenMetric !== chosen.metric) ||
      ("chosenCost" in data && data.chosenCost !== chosen.cost) ||
      ("pictureSeed" in data && chosen.seed !== "all" && data.pictureSeed !== chosen.seed)
    );
  }

  function show() {
    for (const element of new Set([...filtered, ...choices])) {
      element.classList.toggle("off", isOff(element));
    }
    const checkpoints = 2 - hidden.checkpoint.size;
    for (const heading of all("th[data-spans]")) heading.colSpan = checkpoints;
    for (const facet of FACETS) {
      const boxes = all(`input[data-facet="${facet}"]`);
      if (!boxes.length) continue;
      const ticked = boxes.filter((box) => box.checked).length;
      const narrowed = ticked < boxes.length;
      document.querySelector(`[data-count="${facet}"]`).textContent = narrowed
        ? `${ticked} of ${boxes.length}`
        : `${boxes.length}`;
      boxes[0].closest("details").classList.toggle("narrowed", narrowed);
    }
  }

  function chooseVisibleMetric() {
    const options = all('select[data-choose="metric"] option');
    for (const option of options) option.disabled = hidden.metric.has(option.value);
    if (hidden.metric.has(chosen.metric)) {
      const left = options.find((option) => !option.disabled);
      if (left) chosen.metric = left.value;
    }
    for (const select of all('select[data-choose="metric"]')) select.value = chosen.metric;
  }

  function refresh(said) {
    chooseVisibleMetric();
    show();
    if (said) status.textContent = said;
  }

  for (const box of all("input[data-facet]")) {
    box.addEventListener("change", () => {
      const { facet } = box.dataset;
      hidden[facet][box.checked ? "delete" : "add"](box.value);
      const name = box.closest("label").textContent.trim();
      refresh(`${name} ${box.checked ? "shown" : "hidden"}`);
    });
  }
  for (const select of all("select[data-choose]")) {
    select.addEventListener("change", () => {
      if (select.dataset.choose === "checkpoint") {
        hidden.checkpoint.clear();
        if (select.value !== "both") {
          hidden.checkpoint.add(select.value === "final" ? "best" : "final");
        }
      } else {
        chosen[select.dataset.choose] = select.value;
      }
      refresh(`${select.selectedOptions[0].textContent} shown`);
    });
  }
  for (const radio of all('input[name="picture-seed"]')) {
    radio.addEventListener("change", () => {
      chosen.seed = radio.value;
      refresh(`Pictures of seed ${radio.parentElement.textContent.trim()}`);
    });
  }
  document.getElementById("each-seed").addEventListener("change", (event) => {
    root.classList.toggle("each-seed", event.target.checked);
  });
  document.getElementById("reset").addEventListener("click", () => {
    for (const box of all("input[data-facet]")) box.checked = true;
    for (const facet of FACETS) hidden[facet].clear();
    document.querySelector('select[data-choose="checkpoint"]').value = "both";
    for (const table of all("table")) restore(table);
    refresh("Everything is shown");
  });

  // One list of boxes is open at a time; Escape and a click elsewhere close it.

  const lists = all("details.facet");
  document.addEventListener("click", (event) => {
    for (const list of lists) if (!list.contains(event.target)) list.open = false;
  });
  document.addEventListener("keydown", (event) => {
    const list = lists.find((other) => other.open);
    if (event.key !== "Escape" || !list) return;
    list.open = false;
    list.querySelector("summary").focus();
  });

  // Sorting by a heading: the best first, then the other way round. Equal values keep their order,
  // and cells without a value stay last.

  function valueOf(line, column) {
    const value = line.cells[column]?.dataset.value;
    return value === undefined ? null : Number(value);
  }

  function sort(table, heading) {
    const column = Number(heading.dataset.column);
    const first = heading.dataset.sort === "higher" ? "descending" : "ascending";
    const other = first === "ascending" ? "descending" : "ascending";
    const direction = heading.getAttribute("aria-sort") === first ? other : first;
    for (const th of all("th[aria-sort]", table)) th.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", direction);
    const sign = direction === "ascending" ? 1 : -1;
    const body = table.tBodies[0];
    const lines = [...body.rows].map((line, place) => [valueOf(line, column), place, line]);
    lines.sort(([a, i], [b, j]) => {
      if (a === null || b === null) return (a === null) - (b === null) || i - j;
      return sign * (a - b) || i - j;
    });
    body.append(...lines.map(([, , line]) => line));
    status.textContent = `Sorted by ${heading.textContent.trim()}, ${direction}`;
  }

  function restore(table) {
    for (const th of all("th[aria-sort]", table)) th.removeAttribute("aria-sort");
    if (order.has(table)) table.tBodies[0].append(...order.get(table));
  }

  const order = new Map();
  for (const heading of all("th[data-sort]")) {
    const table = heading.closest("table");
    order.set(table, [...table.tBodies[0].rows]);
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => sort(table, heading));
  }

  const costs = document.querySelector('select[data-choose="cost"]');
  if (costs) chosen.cost = costs.value;
  refresh();
})();
