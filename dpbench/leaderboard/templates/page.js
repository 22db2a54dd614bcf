"use strict";
// Everything is in the page already; this sorts, filters and hides.
const MOST = 150; // rows shown at once: a browser lays out ten thousand slowly

const value = (row, column) => {
  const cell = row.cells[column];
  if (!cell) return null;
  if ("v" in cell.dataset) return Number(cell.dataset.v);
  const text = cell.textContent.trim();
  return text === "–" || text === "" ? null : text;
};

const compare = (a, b) =>
  typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));

// A table whose rows are kept aside, so that few are in the document.
class Sortable {
  constructor(table) {
    this.table = table;
    this.body = table.tBodies[0];
    this.rows = [...this.body.rows];
    this.texts = this.rows.map((row) => row.textContent.toLowerCase());
    this.order = this.rows.map((_, index) => index);
    this.most = MOST;
    this.keep = () => true;
    const heads = [...table.tHead.rows].at(-1).cells;
    this.heads = [...heads];
    this.heads.forEach((head, column) => this.sorts(head, column));
  }

  sorts(head, column) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      const down = before ? before === "ascending" : "down" in head.dataset;
      this.sort(column, down);
    });
  }

  sort(column, down) {
    for (const head of this.heads) head.removeAttribute("aria-sort");
    this.heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
    const values = this.rows.map((row) => value(row, column));
    this.order.sort((i, j) => {
      if (values[i] === null || values[j] === null)
        return (values[i] === null) - (values[j] === null) || i - j;
      return (down ? -1 : 1) * compare(values[i], values[j]) || i - j;
    });
    this.show();
  }

  show() {
    const found = this.order.filter((index) => this.keep(this.texts[index], this.rows[index]));
    const shown = found.slice(0, this.most).map((index) => this.rows[index]);
    this.body.replaceChildren(...shown);
    this.found = found.length;
    return found.length - shown.length;
  }
}

class Part {
  constructor(section) {
    this.section = section;
    this.form = section.querySelector(".tools");
    this.form.hidden = false;
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.tables = [...section.querySelectorAll("table.grid")].map((table) => new Sortable(table));
    this.settings = this.tables.find((t) => t.table.classList.contains("settings"));
    this.more = section.querySelector(".more");
    this.more.querySelector("button").addEventListener("click", () => this.all());
    this.form.addEventListener("input", () => this.update());
    this.choose("overview");
    this.update();
    for (const kind of ["mouseover", "focusin"])
      section.addEventListener(kind, (event) => this.point(event.target.closest("[data-m]")));
    section.addEventListener("mouseleave", () => this.point(null));
  }

  all() {
    this.settings.most = Infinity;
    this.update();
    this.settings.table.closest(".scroll").focus();
  }

  choose(metric) {
    this.metric = metric;
    for (const table of this.section.querySelectorAll("table.overview"))
      table.closest(".scroll").hidden = metric !== "overview";
    for (const panel of this.section.querySelectorAll("details.panel")) {
      const here = panel.dataset.key === metric;
      panel.open = here;
      if (here) this.section.querySelector("table.overview").closest(".scroll").after(panel);
      else this.section.querySelector(".panels").append(panel);
    }
    for (const chart of this.section.querySelectorAll(".lead .chart"))
      chart.hidden = metric !== "overview" && chart.dataset.key !== metric;
  }

  update() {
    const { metric, epsilon, filter } = this.form.elements;
    if (metric.value !== this.metric) this.choose(metric.value);
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = epsilon.value;
    for (const table of this.tables) {
      const rows = table === this.settings;
      table.keep = (text, row) =>
        words.every((word) => (rows ? text : row.dataset.m.toLowerCase()).includes(word)) &&
        (!rows || chosen === "" || row.dataset.rowE === chosen);
    }
    // Words that are of no method are about settings: then the other tables stay whole.
    for (const table of this.tables) {
      if (table !== this.settings && words.length && !table.rows.some((row) => table.keep("", row)))
        table.keep = () => true;
      table.show();
    }
    const left = this.settings.found - this.settings.body.rows.length;
    this.more.hidden = left <= 0;
    this.form.querySelector(".said").textContent =
      `${this.settings.found} of ${this.settings.rows.length} settings`;
    if (chosen !== this.chosen) this.columns(chosen);
  }

  columns(chosen) {
    this.chosen = chosen;
    for (const cells of [...this.tables.flatMap((t) => [t.table.tHead, ...t.rows]),
      ...this.section.querySelectorAll("table.samples")])
      for (const cell of cells.querySelectorAll("[data-e]"))
        cell.hidden = chosen !== "" && cell.dataset.e !== chosen;
  }

  point(found) {
    const method = found ? found.dataset.m : null;
    if (method === this.pointed) return;
    this.pointed = method;
    for (const plot of this.section.querySelectorAll("svg.plot")) {
      const own = [...plot.querySelectorAll(".series[data-m]")];
      const any = own.some((series) => series.dataset.m === method);
      plot.classList.toggle("dim", any);
      for (const series of own) series.classList.toggle("on", series.dataset.m === method);
    }
    for (const table of this.tables)
      for (const row of table.body.rows) row.classList.toggle("on", row.dataset.m === method);
  }

  // A row that a link leads to is shown, whatever the filter was.
  reveal(id) {
    const index = this.settings.rows.findIndex((row) => row.id === id);
    if (index < 0) return;
    if (!this.settings.rows[index].isConnected) {
      this.form.reset();
      this.settings.most = Infinity;
      this.update();
    }
    this.settings.rows[index].scrollIntoView({ block: "center" });
  }
}

const parts = [...document.querySelectorAll("section.part")].map((section) => new Part(section));
const reveal = () => parts.forEach((part) => part.reveal(location.hash.slice(1)));
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#t']");
  if (link) parts.forEach((part) => part.reveal((link.getAttribute("href") || "#").slice(1)));
});
addEventListener("hashchange", reveal);
if (location.hash) reveal();
