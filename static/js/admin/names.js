/** Give names to fields of Django's pages that have none: those in the rows of tables, and the halves of a date. */

const TABLES = "#result_list, .tabular table";

function nameCells() {
  for (const field of document.querySelectorAll(`:is(${TABLES}) tbody :is(input, select, textarea)`)) {
    const cell = field.closest("td, th");
    const column = cell.closest("table").tHead.rows[0].cells[cell.cellIndex];
    const row = cell.parentElement.querySelector("th, .original p");
    const words = [column, row].map((part) => part?.innerText.trim()).filter(Boolean);
    if (!field.labels?.length && !field.ariaLabel && words.length) field.ariaLabel = words.join(" of ");
  }
}

function nameDates() {
  for (const field of document.querySelectorAll(".datetime :is(.vDateField, .vTimeField)")) {
    const whole = field.closest(".form-row")?.querySelector("label, legend")?.textContent.trim();
    const half = field.matches(".vDateField") ? "date" : "time";
    if (!field.labels.length) field.ariaLabel = [whole, half].filter(Boolean).join(" ");
  }
}

function nameSigns() {
  for (const sign of document.querySelectorAll("span.search-label-icon[aria-label]")) sign.role = "img";
  for (const header of document.querySelectorAll(".tabular th.original:empty")) header.role = "presentation";
}

// Django's own scripts make some of these when the page has loaded; they asked for that event first.
addEventListener("load", () => {
  nameCells();
  nameDates();
  nameSigns();
});
document.addEventListener("formset:added", nameCells);
