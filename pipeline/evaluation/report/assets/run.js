// A run: losses, settings beside those of another, latents, embedding, velocity decoded and forecast.
let shownRun = null;
const ticked = () => all("#runs .tick").filter((box) => box.checked).map((box) => box.value);

async function showRun() {
  const choice = $("run-choice");
  if (!choice) return;
  const name = state.run;
  choice.value = name;
  for (const part of all(".of-run")) part.hidden = part.dataset.key !== name;
  showNumbersOfRun();
  const data = await dataOf("run", name);
  if (name !== state.run) return;
  $("run-plots").hidden = data === null;
  $("run-not-drawn").hidden = data !== null;
  shownRun = data;
  if (data === null) return;
  await loadLibrary();
  if (name !== state.run) return;
  const losses = Object.keys(data.losses.curves);
  $("loss").replaceChildren(...losses.map((each) => element("option", { value: each, text: each })));
  drawLosses();
  drawEmbedding(data);
  const sessions = Object.keys(data.sessions);
  $("run-session").replaceChildren(...sessions.map((each) => element("option", { value: each, text: each })));
  const wanted = sessions.find((each) => each === sessionOf(state.session));
  if (wanted) $("run-session").value = wanted;
  $("of-session-of-run").hidden = !sessions.length;
  showSessionOfRun();
}

async function drawLosses() {
  const loss = $("loss").value;
  const names = [...new Set([state.run, ...ticked()])];
  const found = await Promise.all(names.map((name) => dataOf("run", name)));
  const curves = names.map((name, i) => [name, found[i]?.losses.curves[loss]]).filter(([, curve]) => curve?.length);
  if (!curves.length) return noPlot("plot-loss", "The run kept no losses.");
  const shape = ["solid", "dash", "dot", "dashdot"];
  draw(
    "plot-loss",
    curves.map(([name, curve], i) => ({
      type: "scatter", mode: curve.length > 30 ? "lines" : "lines+markers", name: nameOf(name), x: curve.map(([x]) => x),
      y: curve.map(([, y]) => y), line: { color: LINES[i % 6], width: 2, dash: shape[i % 4] },
    })),
    { xaxis: { title: { text: "step" } }, yaxis: { title: { text: escaped(loss) } }, showlegend: true },
    `${loss} of ${curves.map(([name, curve]) => `${name}: ${curve[0][1]} at first, ${curve.at(-1)[1]} at last`).join("; ")}.`,
  );
}

function drawEmbedding(data) {
  const embedding = data.embedding;
  $("figure-embedding").hidden = !embedding;
  if (!embedding) return drawn.delete("plot-embedding");
  const flat = embedding.mean.every((each) => each.length < 2);
  $("embedding-words").textContent = `Where sessions lie in the embedding. ${embedding.left_out.join(" ")}`;
  const of = (values, i) => values.map((each) => each[i] ?? 0);
  draw(
    "plot-embedding",
    () => embedding.sessions.map((session, i) => ({
      type: "scatter", mode: "markers", x: [of(embedding.mean, 0)[i]], y: [of(embedding.mean, 1)[i]], name: nameOf(session),
      hovertemplate: `${nameOf(session)}<extra></extra>`, marker: { size: 9, color: conditionColours(embedding.sessions.length)[i] },
      error_x: { type: "data", array: [of(embedding.sd, 0)[i]], thickness: 1, width: 0 },
      error_y: { type: "data", array: [of(embedding.sd, 1)[i]], thickness: 1, width: 0, visible: !flat },
    })),
    { xaxis: { title: { text: "first axis" } }, yaxis: { title: { text: flat ? "" : "second axis" } }, showlegend: embedding.sessions.length <= 12, legend: { orientation: "h", y: -0.3 } },
    `Embedding of ${embedding.sessions.length} sessions.`,
  );
}

function showSessionOfRun() {
  const data = shownRun;
  const mine = data?.sessions[$("run-session").value];
  $("run-left-out").replaceChildren(
    ...[...(data?.losses.left_out ?? []), ...(mine?.latents?.left_out ?? []), ...(mine?.decoded?.left_out ?? []),
        ...(mine?.said ?? []), ...(data?.left_out ?? [])].map((text) => element("li", { text })),
  );
  if (!mine) return;
  if (mine.latents) drawLatents(mine.latents);
  else noPlot("plot-latents", "There are no latents to draw.");
  const slider = $("run-trial");
  slider.max = Math.max((mine.decoded?.trials.length ?? 1) - 1, 0);
  slider.value = 0;
  showDecoded();
  drawParts(mine.parts);
  listSteps();
}

function camera() {
  const [turn, tilt] = ["turn", "tilt"].map((id) => (Number($(id).value) * Math.PI) / 180);
  const far = 2.1;
  return { eye: { x: far * Math.cos(tilt) * Math.cos(turn), y: far * Math.cos(tilt) * Math.sin(turn), z: far * Math.sin(tilt) } };
}

function drawLatents(latents) {
  const in3d = latents.share.length > 2;
  const line = (points, condition, thick, isFirst) => () => {
    const colour = conditionColours(latents.conditions.length)[condition];
    return {
      type: in3d ? "scatter3d" : "scatter", mode: thick ? "lines+markers" : "lines", x: points[0], y: points[1] ?? points[0].map((_, i) => i),
      ...(in3d ? { z: points[2] } : {}), name: nameOf(latents.conditions[condition]), legendgroup: String(condition),
      showlegend: isFirst, line: { color: colour, width: thick ? 6 : 1.5 }, opacity: thick ? 1 : 0.45,
      marker: { size: points[0].map((_, i) => (i ? 0 : 5)), color: colour, line: { width: 0 } }, hoverinfo: "name",
    };
  };
  const parts = [
    ...latents.trials.map((each, i) => line(each, latents.trial_conditions[i], false, false)),
    ...latents.means.map((each, i) => line(each, i, true, true)),
  ];
  const axis = (i) => ({
    title: { text: `axis ${i + 1} (${Math.round(100 * latents.share[i])} %)` }, gridcolor: coloured("--line"), zerolinecolor: coloured("--line"),
    backgroundcolor: "rgba(0,0,0,0)", showticklabels: false,
  });
  draw(
    "plot-latents",
    () => parts.map((part) => part()),
    () => in3d
      ? { margin: { l: 0, r: 0, t: 0, b: 0 }, scene: { xaxis: axis(0), yaxis: axis(1), zaxis: axis(2), camera: camera(), aspectmode: "cube" } }
      : { xaxis: { title: { text: "axis 1" } }, yaxis: { title: { text: latents.share.length > 1 ? "axis 2" : "bin" } } },
    `Latent trajectories of ${latents.trials.length} test trials in ${latents.conditions.length} conditions.`,
  );
}

function showDecoded() {
  const mine = shownRun?.sessions[$("run-session").value]?.decoded;
  if (!mine || !mine.trials.length) return noPlot("plot-decoded", "Nothing was decoded: see what is said of the run above.");
  const number = Number($("run-trial").value);
  const condition = mine.conditions[mine.trial_conditions[number]];
  const words = `trial ${mine.trials[number]} (${number + 1} of ${mine.trials.length} drawn)${condition ? `, condition ${condition}` : ""}`;
  $("run-trial-words").textContent = words;
  $("run-trial").setAttribute("aria-valuetext", words);
  const width = mine.time[1] - mine.time[0];
  const time = mine.time.map((t) => 1e3 * (t + width / 2) + mine.lag_ms);
  const n = mine.axes.length;
  const traces = () => mine.axes.flatMap((axis, i) => {
    const at = i ? { xaxis: "x", yaxis: `y${i + 1}` } : {};
    const recorded = {
      type: "scatter", mode: "lines", x: time, y: mine.recorded[number][i], name: "recorded", legendgroup: "recorded",
      showlegend: i === 0, line: { color: coloured("--text"), width: 1.5 }, ...at,
    };
    const made = mine.signals.flatMap((signal, k) => {
      const values = signal.velocity[number][i];
      const mine_time = time.slice(signal.first_bin, signal.first_bin + values.length);
      const shared = { type: "scatter", mode: "lines", legendgroup: signal.label, ...at };
      const curve = {
        ...shared, x: mine_time, y: values, name: nameOf(signal.label), showlegend: i === 0, line: { color: LINES[k % 6], width: 2, dash: ["solid", "dash", "dot", "dashdot"][k % 4] },
      };
      if (!signal.half_width) return [curve];
      const edge = (sign) => values.map((v, b) => (v === null ? null : v + sign * signal.half_width[i][b]));
      const band = {
        ...shared, x: [...mine_time, ...[...mine_time].reverse()], y: [...edge(1), ...edge(-1).reverse()], fill: "toself", mode: "none",
        fillcolor: `${LINES[k % 6]}33`, showlegend: false, hoverinfo: "skip",
      };
      return [band, curve];
    });
    return [recorded, ...made];
  });
  const layout = () => {
    const laid = { showlegend: true, legend: { orientation: "h", y: -0.16 }, xaxis: { title: { text: `time (ms), velocity ${mine.lag_ms} ms after the spikes` }, anchor: n > 1 ? `y${n}` : "y" } };
    mine.axes.forEach((axis, i) => {
      const [low, high] = [1 - (i + 1) / n + 0.03, 1 - i / n];
      laid[i ? `yaxis${i + 1}` : "yaxis"] = { title: { text: escaped(`${axis} (${mine.velocity_unit})`) }, domain: [low, high] };
    });
    return laid;
  };
  draw("plot-decoded", traces, layout, `Recorded velocity of ${words}, and ${mine.signals.map((each) => each.label).join(", ")}.`);
}

function drawParts(parts) {
  all(".of-parts").forEach((each) => (each.hidden = !parts));
  if (!parts) {
    drawn.delete("plot-r2-time");
    drawn.delete("plot-r2-conditions");
    return;
  }
  const time = parts.time.map((t) => 1e3 * t);
  const named = (signal) => nameOf([signal.label, signal.decoder.replaceAll("_", " ")].filter(Boolean).join(", "));
  const clipped = { title: { text: "R²" }, range: [-0.5, 1.02] };
  draw("plot-r2-time", parts.signals.map((signal, k) => ({
    type: "scatter", mode: "lines+markers", x: time, y: signal.over_time, name: named(signal), marker: { size: 4 },
    line: { color: LINES[k % 6], width: 2 },
  })), { xaxis: { title: { text: "time of the bin (ms)" } }, yaxis: clipped, showlegend: true, legend: { orientation: "h", y: -0.22 } },
    `R² over ${time.length} bins of ${parts.signals.length} signals; values below −0.5 are off the plot.`);
  draw("plot-r2-conditions", parts.signals.map((signal, k) => ({
    type: "bar", x: parts.conditions.map((name) => escaped(name || "none")), y: signal.of_conditions, name: named(signal), marker: { color: LINES[k % 6] },
  })), { xaxis: { type: "category" }, yaxis: clipped, showlegend: true, legend: { orientation: "h", y: -0.15 } },
    `R² of ${parts.conditions.length} conditions of ${parts.signals.length} signals; values below −0.5 are off the plot.`);
}

// Numbers of single steps ahead, straight from the measurements; stale ones are not drawn.
function stepRows() {
  const session = $("run-session").value;
  return rowsWhere((row) => field("step", row) !== "" && field("session", row) === session && !field("stale", row)
    && ["", state.run].includes(field("run", row)));
}

function listSteps() {
  const names = [...new Set(stepRows().map((row) => field("name", row)))].sort((a, b) => (b === "velocity_r2") - (a === "velocity_r2"));
  $("figure-steps").hidden = !names.length;
  if (!names.length) return drawn.delete("plot-steps");
  $("step-name").replaceChildren(...names.map((name) => element("option", { value: name, text: name })));
  drawSteps();
}

function drawSteps() {
  const name = $("step-name").value;
  const curves = new Map();
  for (const row of stepRows()) {
    if (field("name", row) !== name || field("value", row) === "") continue;
    const of = field("run", row) ? `${field("run", row)}, ${field("source", row).replaceAll("_", " ")}` : field("source", row).replaceAll("_", " ");
    if (!curves.has(of)) curves.set(of, { isRun: Boolean(field("run", row)), points: new Map() });
    const points = curves.get(of).points;
    if (!points.has(field("step", row))) points.set(field("step", row), field("value", row));
  }
  const sorted = [...curves].sort((a, b) => b[1].isRun - a[1].isRun);
  draw("plot-steps", sorted.map(([of, { isRun, points }], k) => {
    const steps = [...points].sort((a, b) => a[0] - b[0]);
    return {
      type: "scatter", mode: "lines", x: steps.map(([x]) => x), y: steps.map(([, y]) => y), name: nameOf(of),
      line: { color: LINES[k % 6], width: isRun ? 3 : 1.5, dash: isRun ? "solid" : "dot" },
    };
  }), { xaxis: { title: { text: "bins ahead" } }, yaxis: { title: { text: escaped(name) } }, showlegend: true, legend: { orientation: "h", y: -0.22 } },
    `${name} by bins ahead, of ${sorted.map(([of]) => of).join(", ")}.`);
}

function settingsOf(name) {
  const part = all(".of-run").find((each) => each.dataset.key === name);
  return new Map(all(".settings tbody tr", part).map((row) => [row.cells[0].textContent, row.cells[1].textContent]));
}

function showDifference() {
  const names = ticked();
  const box = $("difference");
  box.hidden = names.length < 2;
  drawn.has("plot-loss") && drawLosses();
  if (names.length < 2) return;
  const [one, other] = names.map(settingsOf);
  const keys = [...new Set([...one.keys(), ...other.keys()])].filter((key) => one.get(key) !== other.get(key));
  const lines = keys.map((key) => element("tr", {}, [
    element("th", { scope: "row", text: key }), ...[one, other].map((each) => element("td", { text: each.get(key) ?? "not a setting of its model" })),
  ]));
  const more = names.length > 2 ? ` (of ${names.length} ticked, the first two)` : "";
  box.querySelector("h3").textContent = `Settings that differ${more}: ${keys.length}`;
  const heads = ["Setting", ...names.slice(0, 2)].map((text) => element("th", { scope: "col", text }));
  box.querySelector(".wide").replaceChildren(
    keys.length
      ? element("table", { class: "settings" }, [element("thead", {}, [element("tr", {}, heads)]), element("tbody", {}, lines)])
      : element("p", { text: "None: their settings are the same. Their sessions may differ." }),
  );
}

function startRun() {
  const choice = $("run-choice");
  if (!choice) return;
  choice.addEventListener("change", () => chooseRun(choice.value));
  all("button.pick-run").forEach((button) => button.addEventListener("click", () => chooseRun(button.dataset.run)));
  all("#runs .tick").forEach((box) => box.addEventListener("change", showDifference));
  $("loss").addEventListener("change", drawLosses);
  $("run-session").addEventListener("change", showSessionOfRun);
  $("run-trial").addEventListener("input", showDecoded);
  $("step-name").addEventListener("change", drawSteps);
  for (const id of ["turn", "tilt"]) {
    $(id).addEventListener("input", () => {
      if (window.Plotly && $("plot-latents").layout?.scene) window.Plotly.relayout($("plot-latents"), { "scene.camera": camera() });
    });
  }
  on("run", showRun);
  on("filter", showNumbersOfRun);
  chooseRun(choice.value);
}
