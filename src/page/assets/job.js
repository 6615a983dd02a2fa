// One job: its timeline, curves, parts and log.

import { Axis, curves, timeline } from "/page/chart.js";
import { keyed, make, setText } from "/page/dom.js";
import { get, now } from "/page/source.js";
import { bytes, clock, cpuSeconds, cpus, duration, moment, result, resultClass, running, visible } from "/page/text.js";

const LINES = 1000;
/** Full samples are asked for this often, milliseconds: what this page has joined is finer than what
 * the agent keeps, and grows. */
const RENEWAL = 600_000;
const REL = { trace: "Trace", logs: "Logs" };
/** Classes of what the timeline's colours mean, and the words. */
const COLOURS = [["step", "step"], ["phase", "prepare, clean up"], ["container", "container"], ["waiting", "waiting"],
  ["pull", "image pull"], ["failed", "failed"], ["cancelled", "cancelled"]];

/** Shows a job in an element. */
export function jobView(main, shell, id) {
  const path = `jobs/${encodeURIComponent(id)}`;
  const view = frame(main);
  let job = null;
  let samples = new Map();
  let since = 0;
  let renewed = 0;
  let after = 0;
  let lines = [];
  let logState = null;
  let width = 0;
  /** Where the charts end. */
  let drawnTo = 0;
  let asked = 0;

  async function loadJob() {
    job = await get(path);
    shell.node(job.node);
    document.title = `${visible(job.name)} \u00b7 ephemon`;
  }

  async function loadSamples() {
    if (Date.now() - renewed > RENEWAL) {
      [since, renewed] = [0, Date.now()];
    }
    const answer = await get(`${path}/samples?since=${since}`);
    if (since === 0) samples = new Map();
    for (const one of answer.containers) samples.set(one.id, joined(samples.get(one.id), one, since));
    since = answer.nextSinceUnixMs;
  }

  async function loadLog() {
    logState = await get(`${path}/log?after=${after}`);
    // An agent that was started again counts anew.
    if (logState.nextAfter < after) lines = [];
    after = logState.nextAfter;
    lines = lines.concat(logState.lines).slice(-LINES);
  }

  function chosen() {
    return view.choice.value;
  }

  function show() {
    if (!job) return;
    showHead(view, job);
    showChoice(view.choice, job);
    showTables(view, job, samples);
    showCharts();
    showLog(view, lines, logState, chosen());
  }

  function showCharts() {
    width = view.charts.clientWidth;
    if (!job || !width) return;
    const end = job.endUnixMs ?? now();
    drawnTo = end;
    const axis = new Axis(job.startUnixMs, end, width);
    const wanted = job.containers.filter((one) => !chosen() || one.name === chosen());
    view.timeline.replaceChildren(timeline(axis, rows(job, end, chosen()), timelineLabel(job)));
    const series = wanted.map((one) => ({ one, data: samples.get(one.id), at: job.containers.indexOf(one) }))
      .filter(({ data }) => data);
    const single = series.length === 1;
    const line = (values, limit) => ({ one, data, at }) => ({
      series: at, name: visible(one.name), points: values(data), limit: limit(data),
    });
    const throttled = series.flatMap(({ one, data }) => data.activity
      .filter((point) => point.throttled > 5)
      .map((point) => ({ ...point, part: point.throttled / 1000, text: `${visible(one.name)} throttled` })));
    const kills = series.flatMap(({ one, data }) => data.kills.map((at) => ({ at, text: `Out-of-memory kill in ${visible(one.name)}` })));
    const cpuLines = series.map(line((data) => data.cpu, (data) => data.cpuLimit));
    const memoryLines = series.map(line((data) => data.memory, (data) => data.memoryLimit));
    view.cpu.replaceChildren(curves(axis, {
      lines: cpuLines, bands: throttled, unit: "cpu", label: `CPU use over time; the table \u201cContainers\u201d has the figures`,
    }));
    view.memory.replaceChildren(curves(axis, {
      lines: memoryLines, marks: kills, unit: "memory", last: true, label: `Memory over time; the table \u201cContainers\u201d has the figures`,
    }));
    keyed(view.legend, series, ({ one }) => one.name, () => make("li", {}, make("span"), make("bdi")), (item, { one, at }) => {
      item.firstElementChild.className = `swatch s${at % 8}`;
      setText(item.lastElementChild, visible(one.name));
    });
    view.curveSection.hidden = !series.length && job.result !== "running";
    const limit = single ? limitText(series[0].data) : "";
    const limits = limit ? `Limits: ${limit}.` : "";
    setText(view.limits, [limits, throttled.length ? "Shaded: throttled by the CPU limit." : "", kills.length ? "Red lines: out-of-memory kills." : ""].filter(Boolean).join(" "));
  }

  const resized = new ResizeObserver(() => {
    if (view.charts.clientWidth !== width) showCharts();
  });
  resized.observe(view.charts);
  view.choice.addEventListener("change", show);
  const timer = setInterval(() => {
    if (job && job.endUnixMs == null) {
      setText(view.duration, running(now() - job.startUnixMs));
      // Only if it would be seen.
      const moved = (now() - drawnTo) * width >= 2 * (drawnTo - job.startUnixMs);
      if (moved && !document.hidden) showCharts();
    }
  }, 1000);

  return {
    job: id,
    focus: () => view.heading.focus(),
    async load(before, after) {
      const turn = (asked += 1);
      const is = (name) => !before || before[name] !== after[name];
      const wanted = [];
      if (is("job")) wanted.push(loadJob());
      if (is("samples")) wanted.push(loadSamples());
      if (is("log")) wanted.push(loadLog());
      // None may still be under way when the next load begins.
      const failed = (await Promise.allSettled(wanted)).find(({ status }) => status === "rejected");
      if (failed) throw failed.reason;
      if (turn === asked) show();
    },
    changed: (before, after) => ["job", "samples", "log"].some((name) => before[name] !== after[name]),
    stop() {
      clearInterval(timer);
      resized.disconnect();
    },
  };
}

/** The elements that are there once. */
function frame(main) {
  const heading = make("h1", { tabindex: "-1" }, "Job");
  const badge = make("span", { class: "badge big", role: "status" });
  const facts = make("dl", { class: "facts" });
  const links = make("ul", { class: "links" });
  const left = make("p", { class: "quiet", hidden: "" });
  const choice = make("select", { id: "container" });
  const charts = make("div", { class: "charts" });
  const timelineBox = make("div");
  const [cpu, memory] = [make("div"), make("div")];
  const legend = make("ul", { class: "legend" });
  const limits = make("p", { class: "quiet" });
  const curveSection = make("section", { "aria-labelledby": "h-use" },
    make("h2", { id: "h-use" }, "CPU and memory"),
    make("h3", {}, "CPU ", make("span", { class: "unit" }, "in CPUs")), cpu,
    make("h3", {}, "Memory ", make("span", { class: "unit" }, "working set")), memory, legend, limits);
  charts.append(
    make("section", { "aria-labelledby": "h-time" }, make("h2", { id: "h-time" }, "Timeline"), timelineBox, make("ul", { class: "legend" },
      ...COLOURS.map(([kind, words]) => make("li", {}, make("span", { class: `swatch k-${kind}` }), words)))), curveSection);
  const steps = tableOf("Steps", ["Result", "Step", "Container", "Start", "Duration", "CPU time", "Peak memory", "Usage"]);
  const containers = tableOf("Containers", ["Result", "Container", "Role", "Image", "Duration", "CPU time", "Throttled", "Peak memory", "Limits", "Usage"]);
  const log = make("div", { class: "log", tabindex: "0", role: "region", "aria-label": "Last log lines" });
  const logNote = make("p", { class: "quiet" });
  const durationCell = make("dd");
  main.replaceChildren(
    make("p", { class: "back" }, make("a", { href: "#/" }, "\u2190 All jobs")),
    make("div", { class: "title" }, heading, badge), facts, links, left,
    make("p", { class: "filter" }, make("label", { for: "container" }, "Container "), choice),
    charts, steps.section, containers.section,
    make("section", { "aria-labelledby": "h-log" }, make("h2", { id: "h-log" }, "Log"), logNote, log));
  return {
    heading, badge, facts, links, left, choice, charts, timeline: timelineBox, cpu, memory, legend, limits, curveSection,
    steps, containers, log, logNote, duration: durationCell,
  };
}

function tableOf(title, columns) {
  const id = `h-${title.toLowerCase()}`;
  const body = make("tbody");
  const head = make("tr", {}, ...columns.map((name) => make("th", { scope: "col" }, name)));
  const empty = make("p", { class: "empty", hidden: "" }, `No ${title.toLowerCase()} are known.`);
  const table = make("table", { class: "cards", "aria-labelledby": id }, make("thead", {}, head), body);
  const section = make("section", { "aria-labelledby": id }, make("h2", { id }, title), table, empty);
  return { section, table, body, columns, empty };
}

function fill({ table, body, columns, empty }, items, key, values) {
  table.hidden = !items.length;
  empty.hidden = Boolean(items.length);
  const create = () => make("tr", {}, ...columns.map((name, at) => at === 1
    ? make("th", { scope: "row", "data-label": name }, make("bdi"))
    : make("td", { "data-label": name }, make(at === 0 ? "span" : "bdi"))));
  keyed(body, items, key, create, (row, item) => {
    row.className = resultClass(item);
    values(item).forEach((value, at) => setText(row.children[at].firstElementChild, value ?? ""));
    row.firstElementChild.firstElementChild.className = "badge";
  });
}

function showHead(view, job) {
  setText(view.heading, visible(job.name));
  const { sign, word } = result(job);
  setText(view.badge, `${sign} ${word}`);
  view.badge.className = `badge big ${resultClass(job)}`;
  const over = job.endUnixMs != null;
  setText(view.duration, over ? duration(job.endUnixMs - job.startUnixMs) : running(now() - job.startUnixMs));
  const fact = (name, text) => (text ? [[name, text]] : []);
  const facts = [
    ...fact("Repository", visible(job.repository)),
    ...fact("Workflow", visible(job.workflow)),
    ...fact("Ref", job.gitRef && visible(job.gitRef) + (job.sha ? ` @ ${visible(job.sha.slice(0, 12))}` : "")),
    ...fact("Event", visible(job.event)),
    ...fact("Attempt", job.runAttempt && job.runAttempt !== "1" ? visible(job.runAttempt) : ""),
    ...fact("Pod", visible(`${job.namespace}/${job.pod}`)),
    ...fact("Started", moment(job.startUnixMs)),
    ["Duration", null],
    ...fact("CPU time", job.usage.cpuSeconds == null ? "" : cpuSeconds(job.usage.cpuSeconds)),
    ...fact("Peak memory", job.usage.memoryPeakBytes == null ? "" : bytes(job.usage.memoryPeakBytes)),
    ...fact("Out-of-memory kills", job.usage.oomKills ? String(job.usage.oomKills) : ""),
    ...fact("Runner start", job.runnerStartupMs == null ? "" : duration(job.runnerStartupMs)),
  ];
  keyed(view.facts, facts, ([name]) => name, ([name]) => make("div", {}, make("dt", {}, name), name === "Duration" ? view.duration : make("dd")),
    (item, [name, text]) => {
      if (name !== "Duration") setText(item.lastElementChild, text);
    });
  keyed(view.links, job.links, (link) => link.rel, () => make("li", {}, make("a", { rel: "noreferrer noopener", target: "_blank" })), (item, link) => {
    const anchor = item.firstElementChild;
    // The agent checks it, too.
    if (link.href.startsWith("https://") || link.href.startsWith("http://")) anchor.href = link.href;
    setText(anchor, link.rel === "run" ? `Run on ${visible(anchor.host)}` : REL[link.rel] ?? visible(link.rel));
  });
  view.left.hidden = !job.partsLeftOut;
  setText(view.left, `${job.partsLeftOut} parts of this job are not shown: they exceed what is kept of a job.`);
}

function showChoice(choice, job) {
  const names = [""].concat(job.containers.map((one) => one.name));
  keyed(choice, [...new Set(names)], (name) => name, (name) => {
    const option = make("option", {}, name ? visible(name) : "all");
    option.value = name;
    return option;
  }, () => {});
}

/** How a usage was obtained, in words. */
const QUALITY = {
  exact: "exact", residual: "from the pod\u2019s total", residual_shared: "shared estimate", last_sample: "at least",
  living: "so far", confirmed: "confirmed", clamped: "at most", unconfirmed: "as reported by the step",
  window: "runner\u2019s in its time",
};

function showTables(view, job, samples) {
  const usage = (item) => [item.usage.cpuSeconds == null ? "" : cpuSeconds(item.usage.cpuSeconds),
    (item.usage.memoryPeakBytes == null ? "" : bytes(item.usage.memoryPeakBytes)) + (item.usage.oomKills ? `, ${item.usage.oomKills} OOM kills` : "")];
  const badge = (item) => {
    const { sign, word } = result(item);
    return `${sign} ${word}`;
  };
  const took = (item) => (item.endUnixMs == null ? running(now() - item.startUnixMs) : duration(item.endUnixMs - item.startUnixMs));
  fill(view.steps, job.steps, (step) => `${step.name} ${step.container}`, (step) => {
    const [cpu, memory] = usage(step);
    return [badge(step), stepName(step), visible(step.container), `+${duration(step.startUnixMs - job.startUnixMs)}`, took(step), cpu, memory,
      QUALITY[step.quality] ?? visible(step.quality)];
  });
  fill(view.containers, job.containers, (one) => one.name, (one) => {
    const data = samples.get(one.id);
    const running = one.endUnixMs == null;
    const [cpu, memory] = usage(one);
    // While it runs the samples are newer than the record.
    const peak = running && data?.peak != null ? bytes(data.peak) : memory;
    const throttled = one.usage.cpuThrottledSeconds;
    return [badge(one), visible(one.name), visible(one.role), visible(one.image), took(one), cpu,
      throttled == null ? "" : cpuSeconds(throttled), peak, data ? limitText(data) : "", QUALITY[one.quality] ?? visible(one.quality)];
  });
}

function limitText(data) {
  const parts = [];
  if (data.cpuLimit != null) parts.push(cpus(data.cpuLimit));
  if (data.memoryLimit != null) parts.push(bytes(data.memoryLimit));
  // A limit that was not read is not "none".
  return parts.length || !data.limitsKnown ? parts.join(", ") : "none";
}

function stepName(step) {
  return visible(step.displayName ?? step.name);
}

function timelineLabel(job) {
  return `Timeline of ${job.steps.length} steps and ${job.containers.length} containers; the tables \u201cSteps\u201d and \u201cContainers\u201d have the same`;
}

/** The rows of the timeline. */
function rows(job, end, chosen) {
  const row = (kind, name, part, more = {}) => {
    const to = part.endUnixMs ?? end;
    const { word } = result(part);
    return { kind, name, from: part.startUnixMs, to, result: resultClass(part), title: `${name}: ${duration(to - part.startUnixMs)}, ${word}`, ...more };
  };
  const PHASES = { prepare_job: "prepare job", cleanup_job: "clean up" };
  const phases = chosen ? [] : job.phases.map((phase) => row("phase", PHASES[phase.name] ?? visible(phase.name), phase));
  const steps = job.steps.filter((step) => !chosen || step.container === chosen)
    .map((step) => row("step", stepName(step), step, {
      marks: step.usage.oomKills ? [{ at: step.endUnixMs ?? end, text: "Out-of-memory kill" }] : [],
    }));
  const containers = job.containers.filter((one) => !chosen || one.name === chosen).map((one) => {
    const parts = [];
    if (one.createdUnixMs != null && one.createdUnixMs > one.startUnixMs) parts.push({ kind: "wait", from: one.startUnixMs, to: one.createdUnixMs });
    if (one.pull) parts.push({ kind: "pull", from: one.pull.startUnixMs, to: one.pull.endUnixMs });
    const marks = one.usage.oomKills ? [{ at: one.endUnixMs ?? end, text: "Out-of-memory kill" }] : [];
    const name = one.name === one.role ? visible(one.name) : `${visible(one.name)} (${visible(one.role)})`;
    return row("container", name, one, { parts, marks });
  });
  const byTime = (a, b) => a.from - b.from;
  return [...[...phases, ...steps].sort(byTime), ...containers.sort(byTime)];
}

/** Samples as points, joined to those that are there. */
function joined(before, one, since) {
  const points = (columns, name) => columns.from.map((from, at) => ({
    from: one.baseUnixMs + from, to: one.baseUnixMs + columns.to[at], value: columns[name][at],
  }));
  const kept = (list) => (since && list ? list.filter((point) => point.to <= since) : []);
  const activity = one.activity.from.map((from, at) => ({
    from: one.baseUnixMs + from, to: one.baseUnixMs + one.activity.to[at], throttled: one.activity.throttledPermille[at],
  }));
  const memory = points(one.usage, "memoryKibibytes").map((point) => ({ ...point, value: point.value == null ? null : point.value * 1024 }));
  return {
    cpu: kept(before?.cpu).concat(points(one.usage, "cpuMillicores")),
    memory: kept(before?.memory).concat(memory),
    activity: kept(before?.activity).concat(activity),
    kills: one.oomKillsUnixMs,
    limitsKnown: one.limitsKnown,
    cpuLimit: one.cpuLimitMillicores,
    memoryLimit: one.memoryLimitBytes,
    peak: one.memoryPeakBytes,
  };
}

function showLog(view, lines, state, chosen) {
  if (!state) return;
  const shown = lines.filter((line) => !chosen || line.container === chosen);
  view.log.hidden = !state.served || !shown.length;
  const none = "No line has been exported yet.";
  setText(view.logNote, state.served ? (shown.length ? "The last lines, as they are exported: masked." : none) : `No log lines are shown here: ${state.reason}.`);
  const box = view.log;
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 30;
  keyed(box, shown, (line) => line.sequence, (line) => {
    const text = visible(line.text) + (line.cutBytes ? ` \u2026 (${line.cutBytes} bytes more)` : "");
    const severity = ["debug", "notice", "warning", "error"].includes(line.severity) ? line.severity : "";
    return make("div", { class: `line ${severity} ${line.stream === "stderr" ? "stderr" : ""}` },
      make("time", { datetime: new Date(line.atUnixMs).toISOString() }, clock(line.atUnixMs)),
      make("bdi", { class: "from" }, visible(line.container)), make("span", { class: "text" }, text));
  }, () => {});
  if (atEnd) box.scrollTop = box.scrollHeight;
}
