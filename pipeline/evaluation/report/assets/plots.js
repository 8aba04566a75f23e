// The library that draws, and what all plots share: colours of the theme, sizes, no text taken for markup.
const MUTED = ["#332288", "#88ccee", "#44aa99", "#117733", "#999933", "#ddcc77", "#cc6677", "#aa4499"];
const LIGHT = ["#77aadd", "#99ddff", "#44bb99", "#bbcc33", "#aaaa00", "#eedd88", "#ee8866", "#ffaabb"];
const LINES = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
const drawn = new Map();

function conditionColours(number) {
  const palette = isDark() ? LIGHT : MUTED;
  if (number <= palette.length) {
    const step = Math.floor(palette.length / Math.max(number, 1));
    return Array.from({ length: number }, (_, i) => palette[i * step]);
  }
  return Array.from({ length: number }, (_, i) => `hsl(${(360 * i) / number}, 60%, ${isDark() ? 68 : 40}%)`);
}

const coloured = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

let library;
function loadLibrary() {
  library ??= unpacked($("library")).then((code) => {
    const script = document.createElement("script");
    script.textContent = code;
    document.head.append(script);
    if (!window.Plotly) throw new Error("the library that draws did not start");
  });
  return library;
}

const MOST_LETTERS = 44;
const nameOf = (text) => escaped(text === "" ? "none" : text.length > MOST_LETTERS ? `${text.slice(0, MOST_LETTERS)}…` : text);

function themed(layout, place) {
  const [text, line] = [coloured("--text"), coloured("--line")];
  const axis = { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true };
  const narrow = place.clientWidth < 440;
  const made = {
    margin: { l: 48, r: 12, t: 10, b: 40 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: text, size: narrow ? 10 : 11, family: "system-ui, sans-serif" },
    hoverlabel: { namelength: 40 },
    legend: narrow ? { orientation: "h", y: -0.28 } : {},
    autosize: true,
    ...layout,
  };
  // On a narrow page the words below an axis take a larger share of the height.
  if (narrow && made.legend.y < 0) made.legend = { ...made.legend, y: 1.6 * made.legend.y };
  for (const name of Object.keys(made)) if (/^[xy]axis\d*$/.test(name)) made[name] = { ...axis, ...made[name] };
  made.xaxis ??= axis;
  made.yaxis ??= axis;
  return made;
}

// `words` says in a sentence what the plot shows, for those who do not see it.
async function draw(id, traces, layout, words) {
  const place = $(id);
  drawn.set(id, { traces, layout, words });
  place.setAttribute("role", "img");
  place.setAttribute("aria-label", words);
  const made = typeof traces === "function" ? traces() : traces;
  const laid = typeof layout === "function" ? layout() : layout;
  const config = { displaylogo: false, responsive: true, displayModeBar: false, showSendToCloud: false };
  await window.Plotly.react(place, made, themed(laid, place), config);
}

function drawAgain() {
  if (!window.Plotly) return;
  for (const [id, { traces, layout, words }] of drawn) if ($(id).offsetParent) draw(id, traces, layout, words);
}

function noPlot(id, words) {
  const place = $(id);
  drawn.delete(id);
  if (window.Plotly) window.Plotly.purge(place);
  place.removeAttribute("role");
  place.removeAttribute("aria-label");
  place.replaceChildren(element("p", { class: "quiet", text: words }));
}

const msOf = (seconds) => seconds.map((s) => (s === null ? null : 1e3 * s));

// Events within the time that is drawn; the others are told in words.
function marksAt(marks, dark, data) {
  const [first, last] = [data.time[0], data.time.at(-1) + data.bin_ms / 1e3];
  const places = Object.entries(marks).filter(([, at]) => at >= first && at <= last);
  return {
    shapes: places.map(([, at]) => ({
      type: "line", xref: "x", yref: "paper", x0: 1e3 * at, x1: 1e3 * at, y0: 0, y1: 1,
      line: { color: dark ? "#f2c46d" : "#9c1c1c", width: 1.2, dash: "dot" },
    })),
    annotations: places.map(([words, at], i) => ({
      x: 1e3 * at, y: 1 - 0.09 * (i % 3), xref: "x", yref: "paper", text: escaped(words), showarrow: false,
      xanchor: at > first + 0.7 * (last - first) ? "right" : "left", font: { size: 10, color: dark ? "#f2c46d" : "#9c1c1c" },
    })),
  };
}
