// The measurements: all of them, those of a session, those of a run. Stale ones are marked, never as current.
const MOST_ROWS = 200;
const ON_PAPER = 40; // as in the style of a printed page
let measured = { rows: 0, of: 0 };

const HEADS = [
  ["name", "Metric"], ["value", "Value"], ["interval", "Interval"], ["session", "Session"], ["run", "Run"],
  ["source", "Of"], ["split", "Trials"], ["n_trials", "n"], ["fitted_on", "Fitted on"], ["how", "How"], ["stage", "Measured by"],
  ["state", "State"],
];

const field = (name, row) => (measured[name] ?? [])[row] ?? "";
const rounded = (value) => (value === "" || value === null ? "–" : Number(value).toFixed(3).replace("-", "−"));

function howOf(row) {
  const words = [];
  if (field("decoder", row)) words.push(field("decoder", row));
  if (field("lag_ms", row) !== "") words.push(`lag ${field("lag_ms", row)} ms`);
  if (field("seen_bins", row) !== "") words.push(`${field("seen_bins", row)} bins seen, ${field("bins", row)} forecast`);
  if (field("step", row) !== "") words.push(`step ${field("step", row)} alone`);
  if (field("units", row) && field("units", row) !== "all") words.push(`units ${field("units", row)}`);
  if (field("definition", row)) words.push(field("definition", row));
  return words.join("; ");
}

function numberRow(row) {
  const [low, high, stale] = [field("low", row), field("high", row), field("stale", row)];
  const reason = field("reason", row);
  const unit = ["", "1"].includes(field("unit", row)) ? "" : ` ${field("unit", row)}`;
  const cells = {
    ...Object.fromEntries(HEADS.map(([name]) => [name, String(field(name, row))])),
    value: field("value", row) === "" ? `– ${reason}` : rounded(field("value", row)) + unit,
    interval: low === "" ? "" : `${rounded(low)} to ${rounded(high)}`,
    source: field("source", row).replaceAll("_", " "),
    how: howOf(row),
    state: stale ? `stale: ${stale}` : "current",
  };
  if (stale.startsWith("not known")) cells.state = stale;
  const line = element("tr", { class: stale && !stale.startsWith("not known") ? "stale" : undefined });
  for (const [name] of HEADS) {
    const cell = element(name === "name" ? "th" : "td", { text: cells[name], scope: name === "name" ? "row" : undefined });
    if (name === "value") {
      cell.className = reason ? "value text" : "value";
      if (field("value", row) !== "") cell.dataset.value = field("value", row);
    }
    if (name === "how" || name === "state") cell.className = "text";
    line.append(cell);
  }
  return line;
}

function numbersInto(place, rows, what) {
  // What has a current value first, then what is stale, then what could not be measured.
  const rank = (row) => (field("value", row) === "" ? 2 : field("stale", row) ? 1 : 0);
  rows.sort((a, b) => rank(a) - rank(b));
  const shown = rows.slice(0, MOST_ROWS);
  const parts = [];
  const words = [`${rows.length} numbers${what}.`];
  if (rows.length > shown.length) words.push(`The first ${shown.length} are shown; find others by name.`);
  if (measured.rows < measured.of) {
    words.push(`The page has the latest ${measured.rows} of ${measured.of} numbers; pipeline catalog scores has all.`);
  }
  parts.push(element("p", { class: "quiet", text: words.join(" ") }));
  if (shown.length) {
    const heads = HEADS.map(([, words]) => element("th", { scope: "col", text: words }));
    const table = element("table", { class: "sortable numbers" }, [
      element("thead", {}, [element("tr", {}, heads)]),
      element("tbody", {}, shown.map(numberRow)),
    ]);
    startSorting(table);
    parts.push(element("div", { class: "wide long", tabindex: "0", role: "region", "aria-label": "Numbers" }, [table]));
    if (shown.length > ON_PAPER) parts.push(element("p", { class: "quiet on-paper", text: `On paper, the first ${ON_PAPER} are shown.` }));
  } else {
    parts.push(element("p", { text: "Nothing was measured of it yet: pipeline run decode, pipeline run evaluate." }));
  }
  place.replaceChildren(...parts);
}

function rowsWhere(test) {
  const found = [];
  // The latest first.
  for (let row = measured.rows - 1; row >= 0; row--) if (test(row)) found.push(row);
  return found;
}

function showAllNumbers() {
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const withStale = $("with-stale").checked;
  const names = ["name", "session", "run", "source", "model", "stage", "decoder", "split", "fitted_on"];
  const rows = rowsWhere((row) => {
    if (!isShown(field("session", row)) || (!withStale && field("stale", row))) return false;
    const text = names.map((name) => field(name, row)).join(" ").toLowerCase();
    return words.every((word) => text.includes(word));
  });
  numbersInto($("all-numbers"), rows, "");
}

async function startNumbers() {
  measured = JSON.parse(await unpacked($("numbers")));
  let waiting;
  $("search").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(showAllNumbers, 150);
  });
  $("with-stale").addEventListener("change", showAllNumbers);
  on("filter", showAllNumbers);
  showAllNumbers();
}

function showNumbersOfSession() {
  if (!$("session-numbers")) return;
  const [session, recipe] = [sessionOf(state.session), recipeOf(state.session)];
  const mine = rowsWhere((row) => field("session", row) === session && field("recipe_id", row) === recipe);
  numbersInto($("session-numbers"), mine, " of this session");
}

function showNumbersOfRun() {
  if (!$("run-numbers")) return;
  const mine = rowsWhere((row) => field("run", row) === state.run && isShown(field("session", row)));
  numbersInto($("run-numbers"), mine, " of this run");
}
