// Tables that are sorted by a click on a head, and show the sessions of the filter alone.
function startSorting(table) {
  if (!table.tHead) return;
  all("th", table.tHead).forEach((head, column) => {
    if (head.querySelector(".sr")) return;
    const button = element("button", { type: "button", class: "sort", text: head.textContent });
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      all("th", table.tHead).forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      sortRows(table.tBodies[0], column, down ? -1 : 1);
    });
  });
}

function keyOf(cell) {
  if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
  const text = cell.textContent.trim();
  const plain = text.replace("−", "-");
  return plain !== "" && Number.isFinite(Number(plain)) ? Number(plain) : text;
}

function compared(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other;
  return String(one).localeCompare(String(other), "en", { numeric: true });
}

const NOTHING = new Set(["–", "", "– not measured", "stale"]);

function sortRows(body, column, sign) {
  const rows = [...body.rows].map((row) => ({ row, key: keyOf(row.cells[column]) }));
  // What has no number comes last, whichever way.
  const lacks = ({ key }) => typeof key === "string" && NOTHING.has(key);
  rows.sort((a, b) => lacks(a) - lacks(b) || sign * compared(a.key, b.key));
  body.append(...rows.map(({ row }) => row));
}

function filterRows() {
  for (const row of all("tr[data-session]")) row.hidden = !isShown(row.dataset.session);
  for (const row of all("tr[data-sessions]")) {
    const sessions = JSON.parse(row.dataset.sessions);
    row.hidden = state.sessions !== null && !sessions.some(isShown);
  }
}

function sumDropped() {
  for (const box of all(".funnel")) {
    const what = box.dataset.what;
    const parts = all("#dropped tr[data-drops]").filter((row) => isShown(row.dataset.session));
    const dropped = new Map();
    let number = 0;
    for (const row of parts) {
      const said = JSON.parse(row.dataset.drops)[what];
      number += said.kept;
      for (const [reason, n] of Object.entries(said.dropped)) dropped.set(reason, (dropped.get(reason) ?? 0) + n);
    }
    const lost = [...dropped].sort((a, b) => b[1] - a[1]);
    const found = number + lost.reduce((sum, [, n]) => sum + n, 0);
    const lines = [["found", found], ["kept", number], ...lost.map(([r, n]) => [`dropped: ${r.replaceAll("_", " ")}`, n])];
    box.querySelector("tbody").replaceChildren(...lines.map(([words, n], i) => bar(words, n, found, i > 1)));
  }
}

function bar(words, number, most, isDropped) {
  const meter = element("meter", { min: 0, max: most || 1, value: number, "aria-hidden": "true" });
  const cell = element("td", {}, [meter, " ", element("b", { text: String(number) })]);
  return element("tr", isDropped ? { class: "dropped" } : {}, [element("th", { scope: "row", text: words }), cell]);
}

function startFilters() {
  for (const button of all("button.pick")) {
    button.addEventListener("click", () => {
      const session = button.dataset.session;
      filterBy(new Set([session]), `Showing ${session} alone; leaderboards are of all sessions.`);
      chooseSession(button.closest("tr").dataset.key);
    });
  }
  for (const button of all("button.light")) {
    button.addEventListener("click", () => {
      const { check, state: light } = button.dataset;
      const alike = all("#lights button.light").filter((b) => b.dataset.check === check && b.dataset.state === light);
      const sessions = new Set(alike.map((each) => each.closest("tr").dataset.session));
      const session = button.closest("tr").dataset.session;
      const head = all("#lights thead th")[button.closest("td").cellIndex].textContent;
      $("why").hidden = false;
      $("why").textContent = `${session}, ${head}: ${button.title}.`;
      const n = sessions.size === 1 ? "1 session" : `${sessions.size} sessions`;
      filterBy(sessions, `Showing ${n} with the same light in ${head}; leaderboards are of all sessions.`);
    });
  }
  $("show-all").addEventListener("click", () => {
    if ($("why")) $("why").hidden = true;
    filterBy(null, "");
  });
  on("filter", filterRows);
  on("filter", sumDropped);
}

function startMaps() {
  const choice = $("map-choice");
  if (!choice) return;
  const show = () => all(".heat").forEach((map) => (map.hidden = map.dataset.map !== choice.value));
  choice.addEventListener("change", show);
  show();
}
