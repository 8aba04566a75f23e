// Everything begins here. What goes wrong is said on the page.
async function start() {
  document.documentElement.classList.remove("no-script");
  startTheme();
  startCopying();
  all("table.sortable").forEach(startSorting);
  startFilters();
  startMaps();
  if (typeof DecompressionStream === "undefined") {
    trouble("This browser cannot unpack the data of the page, so plots and the table of all numbers are not shown. Any browser since 2023 can.");
    return;
  }
  try {
    await startNumbers();
  } catch (error) {
    trouble(`The table of all numbers cannot be shown: ${error.message}.`);
  }
  startSession();
  startRun();
  on("theme", drawAgain);
  // Plots are as wide as the paper while the page is printed.
  window.addEventListener("beforeprint", () => all(".js-plotly-plot").forEach((each) => window.Plotly.Plots.resize(each)));
}

window.addEventListener("unhandledrejection", (event) => trouble(`Something could not be drawn: ${event.reason?.message ?? event.reason}.`));
start();
