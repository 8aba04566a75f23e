// A session: one of its trials, its PSTHs and units.
const chosenOption = (id) => $(id).selectedOptions[0];
const sessionOf = (key) => all("#session-choice option").find((each) => each.value === key)?.dataset.session ?? "";
const recipeOf = (key) => key.slice(sessionOf(key).length + 1);
let shownSession = null;

async function showSession() {
  const choice = $("session-choice");
  if (!choice) return;
  choice.value = state.session;
  const key = state.session;
  for (const part of all(".of-session")) part.hidden = part.dataset.key !== key;
  showNumbersOfSession();
  const data = await dataOf("session", key);
  if (key !== state.session) return;
  $("session-plots").hidden = data === null;
  $("session-not-drawn").hidden = data !== null || isBroken(key);
  shownSession = data;
  if (data === null) return;
  const trial = $("trial");
  trial.max = Math.max(data.trials.length - 1, 0);
  trial.value = 0;
  $("unit").replaceChildren(...data.units.map((unit, i) => element("option", { value: i, text: `unit ${unit}` })));
  $("session-left-out").replaceChildren(...data.left_out.map((text) => element("li", { text })));
  await loadLibrary();
  if (key !== state.session) return;
  drawUnits(data);
  drawPsth(data);
  showTrial();
}

const isBroken = (key) => all(".of-session").some((part) => part.dataset.key === key && part.querySelector(".note.bad"));

function showTrial() {
  const data = shownSession;
  if (!data) return;
  const number = Number($("trial").value);
  const trial = data.trials[number];
  if (!trial) {
    for (const id of ["plot-raster", "plot-rates", "plot-paths", "plot-velocity"]) noPlot(id, "There is no trial to draw.");
    return;
  }
  const condition = data.conditions[trial.condition];
  const words = `trial ${trial.trial} (${number + 1} of ${data.trials.length} drawn), ${condition ? `condition ${condition}, ` : ""}${trial.split}, onset: ${trial.onset.replaceAll("_", " ")}${outside(data, trial)}`;
  $("trial-words").textContent = words;
  $("trial").setAttribute("aria-valuetext", words);
  drawCounts("plot-raster", data, trial, trial.counts, "spikes", "Spikes");
  drawCounts("plot-rates", data, trial, trial.rates, "Hz", "Rates");
  drawPaths(data, number);
  drawVelocity(data, trial);
}

function outside(data, trial) {
  const [first, last] = [data.time[0], data.time.at(-1) + data.bin_ms / 1e3];
  const lost = Object.entries(trial.marks).filter(([, at]) => at < first || at > last);
  return lost.length ? `; outside the window: ${lost.map(([words, at]) => `${words} ${Math.round(1e3 * at)} ms`).join(", ").replaceAll("-", "−")}` : "";
}

function drawCounts(id, data, trial, values, unit, what) {
  const grey = () => (isDark() ? [[0, "#14171b"], [1, "#e6e9ed"]] : [[0, "#ffffff"], [1, "#10202f"]]);
  const blue = () => (isDark() ? [[0, "#14171b"], [1, "#7db8f5"]] : [[0, "#ffffff"], [1, "#104e8b"]]);
  const half = data.bin_ms / 2;
  draw(
    id,
    () => [{
      type: "heatmap", z: values, x: msOf(data.time).map((t) => t + half), colorscale: unit === "Hz" ? blue() : grey(),
      zmin: 0, colorbar: { title: { text: unit, side: "right" }, thickness: 10, len: 0.9 },
      hovertemplate: `unit %{y}, %{x:.0f} ms: %{z} ${unit}<extra></extra>`,
    }],
    () => ({
      xaxis: { title: { text: "time (ms)" } }, yaxis: { title: { text: "unit" }, showgrid: false },
      ...marksAt(trial.marks, isDark(), data),
    }),
    `${what} of ${data.units.length} units in trial ${trial.trial}, from ${Math.round(1e3 * data.time[0])} ms on.`,
  );
}

function drawPaths(data, number) {
  if (data.axes.length < 2) return noPlot("plot-paths", "The kinematics have one axis: there is no path.");
  const traces = () => {
    const colours = conditionColours(data.conditions.length);
    const seen = new Set();
    const made = data.trials.map((trial, i) => {
      const isFirst = !seen.has(trial.condition);
      seen.add(trial.condition);
      return {
        type: "scatter", mode: "lines", x: trial.position[0], y: trial.position[1],
        name: nameOf(data.conditions[trial.condition]), legendgroup: String(trial.condition), showlegend: isFirst, legendrank: 1000 + trial.condition,
        line: { color: colours[trial.condition], width: 1 }, opacity: 0.55,
        hovertemplate: `trial ${nameOf(trial.trial)}<extra></extra>`,
      };
    });
    const one = data.trials[number];
    const chosen = {
      type: "scatter", mode: "lines+markers", x: one.position[0], y: one.position[1], showlegend: false, hoverinfo: "skip",
      line: { color: colours[one.condition], width: 4 }, marker: { size: one.position[0].map((_, i) => (i ? 0 : 9)) },
    };
    return [...made, chosen];
  };
  draw("plot-paths", traces, {
    xaxis: { title: { text: escaped(`${data.axes[0]} (${data.position_unit})`) } },
    yaxis: { title: { text: escaped(`${data.axes[1]} (${data.position_unit})`) }, scaleanchor: "x" },
  }, `Hand paths of ${data.trials.length} trials; trial ${data.trials[number].trial} is thick.`);
}

function drawVelocity(data, trial) {
  const time = msOf(data.time).map((t) => t + data.bin_ms / 2);
  draw(
    "plot-velocity",
    data.axes.map((axis, i) => ({
      type: "scatter", mode: "lines", x: time, y: trial.velocity[i], name: nameOf(axis), line: { color: LINES[i % 6], width: 2 },
    })),
    () => ({
      xaxis: { title: { text: "time (ms)" } }, yaxis: { title: { text: escaped(`velocity (${data.velocity_unit})`) } },
      showlegend: true, ...marksAt(trial.marks, isDark(), data),
    }),
    `Velocity of trial ${trial.trial}. Events: ${Object.entries(trial.marks).map(([w, t]) => `${w} ${Math.round(1e3 * t)} ms`).join(", ") || "none"}.`,
  );
}

function drawPsth(data) {
  const unit = Number($("unit").value);
  const time = msOf(data.time).map((t) => t + data.bin_ms / 2);
  draw(
    "plot-psth",
    () => data.conditions.map((name, i) => ({
      type: "scatter", mode: "lines", x: time, y: data.psth[i][unit], name: `${nameOf(name)} (${data.psth_trials[i]})`,
      line: { color: conditionColours(data.conditions.length)[i], width: 2 },
    })),
    { xaxis: { title: { text: "time (ms)" } }, yaxis: { title: { text: "rate (Hz)" }, rangemode: "tozero" }, showlegend: true },
    `PSTHs of unit ${data.units[unit]} in ${data.conditions.length} conditions.`,
  );
}

function drawUnits(data) {
  const words = data.unit_names.map((unit, i) => `unit ${nameOf(unit)}${data.unit_areas[i] ? `, ${nameOf(data.unit_areas[i])}` : ""}`);
  draw(
    "plot-units",
    [{
      type: "bar", x: data.unit_rates.map((_, i) => i + 1), y: data.unit_rates, text: words, textposition: "none",
      marker: { color: LINES[0] }, hovertemplate: "%{text}: %{y} Hz<extra></extra>",
    }],
    { xaxis: { title: { text: "unit, by rate" } }, yaxis: { title: { text: "mean rate (Hz)" } } },
    `Mean rates of ${data.unit_rates.length} units, from ${data.unit_rates[0]} to ${data.unit_rates.at(-1)} Hz.`,
  );
}

function startSession() {
  const choice = $("session-choice");
  if (!choice) return;
  choice.addEventListener("change", () => chooseSession(choice.value));
  $("trial").addEventListener("input", showTrial);
  $("unit").addEventListener("change", () => shownSession && drawPsth(shownSession));
  on("session", showSession);
  on("filter", () => {
    const shown = all("#session-choice option").filter((each) => isShown(each.dataset.session));
    all("#session-choice option").forEach((each) => (each.hidden = !isShown(each.dataset.session)));
    if (shown.length && !isShown(sessionOf(state.session))) chooseSession(shown[0].value);
  });
  chooseSession(choice.value);
}
