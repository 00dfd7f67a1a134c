// Draws a diagram in a page of no origin that may fetch nothing. The page around it sends `{code, isDark, colors}` with
// a port, and again through that port; back come `{height, name}`, or `{problem}` in words. No module: such a page would
// need leave to load one.

const SMALLEST = 0.6; // of its size; a diagram that would have to be smaller is scrolled
const LONGEST_WORDS = 200; // characters

// What a diagram may not set for itself. Its looks are its own.
const SECURE = ["secure", "securityLevel", "startOnLoad", "maxTextSize", "maxEdges", "suppressErrorRendering"];
const OPTIONS = {
  dompurifyConfig: {},
  flowchart: { htmlLabels: false },
  sequence: { actorFontSize: 14, messageFontSize: 14, noteFontSize: 14, mirrorActors: false },
  fontFamily: "system-ui, sans-serif",
  htmlLabels: false,
  logLevel: "fatal",
  maxEdges: 500,
  maxTextSize: 20_000,
  secure: [...SECURE, "dompurifyConfig", "htmlLabels", "logLevel", "themeCSS"],
  securityLevel: "strict",
  startOnLoad: false,
  suppressErrorRendering: true,
  theme: "base",
};
const HUES = {
  light: ["#9fd3c4", "#f3c98b", "#a9c5ee", "#e9a9a0", "#c9b3e6", "#bcd58f", "#8fd0dc", "#e8b3cf"],
  dark: ["#24665a", "#7a5518", "#2b5288", "#86392f", "#5b4185", "#4d661f", "#1f6470", "#7d3a5e"],
};

// The policy of this page lets none through; this says so.
globalThis.Image = function refuse() {
  throw new Error("there are no pictures in diagrams here.");
};

let last = Promise.resolve(); // one drawing after the other

addEventListener("message", ({ data, ports: [port], source }) => {
  if (source !== parent || port === undefined) {
    return;
  }
  const ask = (wanted) => {
    last = last.then(() => draw(wanted, port));
  };
  new ResizeObserver(() => tell(port)).observe(document.body);
  port.onmessage = (event) => ask(event.data);
  ask(data);
});

async function draw({ code, isDark, colors }, port) {
  document.documentElement.style.colorScheme = isDark ? "dark" : "light";
  globalThis.mermaid.initialize({ ...OPTIONS, darkMode: isDark, themeVariables: variables(isDark, colors) });
  try {
    const { svg } = await globalThis.mermaid.render("diagram", code);
    show(new DOMParser().parseFromString(svg, "text/html").querySelector("svg"));
    tell(port);
  } catch (error) {
    port.postMessage({ problem: inWords(String(error?.message ?? error), code) });
  }
}

function variables(isDark, { accent, background, line, soft, text }) {
  const hues = isDark ? HUES.dark : HUES.light;
  const numbered = (name, first) => hues.map((hue, place) => [`${name}${place + first}`, hue]);
  const named = [numbered("pie", 1), numbered("cScale", 0), numbered("git", 0), numbered("fillType", 0)].flat();
  const labels = hues.flatMap((_, place) => [
    [`cScaleLabel${place}`, text],
    [`gitBranchLabel${place}`, text],
  ]);
  return {
    ...Object.fromEntries([...named, ...labels]),
    background,
    fontSize: "14px",
    gridColor: line,
    sectionBkgColor: soft,
    sectionBkgColor2: soft,
    altSectionBkgColor: background,
    taskBkgColor: hues[0],
    taskBorderColor: accent,
    taskTextColor: text,
    taskTextDarkColor: text,
    taskTextLightColor: text,
    taskTextOutsideColor: text,
    activeTaskBkgColor: hues[2],
    activeTaskBorderColor: accent,
    doneTaskBkgColor: background,
    doneTaskBorderColor: line,
    critBkgColor: hues[3],
    critBorderColor: hues[3],
    todayLineColor: accent,
    signalColor: text,
    signalTextColor: text,
    lineColor: line,
    mainBkg: soft,
    noteBkgColor: hues[1],
    noteTextColor: text,
    pieOpacity: 1,
    pieOuterStrokeWidth: 0,
    pieSectionTextColor: text,
    pieStrokeColor: background,
    primaryBorderColor: accent,
    primaryColor: soft,
    primaryTextColor: text,
    secondaryColor: background,
    tertiaryColor: background,
    textColor: text,
  };
}

/** Show a drawing, without links: they would lead from within a frame to where nobody sees. */
function show(drawing) {
  for (const link of drawing.querySelectorAll("a")) {
    link.replaceWith(...link.childNodes);
  }
  const { width } = drawing.viewBox.baseVal;
  if (width > 0) {
    drawing.removeAttribute("height");
    Object.assign(drawing.style, {
      inlineSize: "100%",
      maxInlineSize: `${width}px`,
      minInlineSize: `${width * SMALLEST}px`,
    });
  }
  document.body.replaceChildren(drawing);
}

function tell(port) {
  const drawing = document.querySelector("body > svg");
  if (drawing) {
    const name = drawing.querySelector(":scope > title")?.textContent ?? "";
    port.postMessage({ height: document.documentElement.scrollHeight, name: name.slice(0, LONGEST_WORDS) });
  }
}

function inWords(message, code) {
  const line = Number(/(?:Parse|Lexical) error on line (\d+)/.exec(message)?.[1]);
  if (line) {
    return `This diagram has a mistake in line ${Math.min(line, code.trimEnd().split("\n").length)}.`;
  }
  return message.startsWith("No diagram type detected")
    ? "Diagrams of this kind cannot be shown here."
    : `This diagram has a mistake: ${message.split("\n", 1)[0].slice(0, LONGEST_WORDS)}`;
}
