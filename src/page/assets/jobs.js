// The list of jobs.

import { bytes, clock, cpuSeconds, duration, result, resultClass, running, visible } from "/page/text.js";
import { make, keyed, setText } from "/page/dom.js";
import { get, now } from "/page/source.js";

const COLUMNS = ["Result", "Job", "Repository", "Workflow", "Started", "Duration", "CPU time", "Peak memory", "Steps"];

/** Shows the list in an element. */
export function jobsView(main, shell) {
  const heading = make("h1", { tabindex: "-1" }, "Jobs");
  const filter = make("input", { type: "search", id: "filter", autocomplete: "off", spellcheck: "false" });
  const count = make("p", { class: "quiet", role: "status" });
  const head = make("tr", {}, ...COLUMNS.map((name) => make("th", { scope: "col" }, name)));
  const body = make("tbody");
  const table = make("table", { class: "jobs cards" },
    make("caption", { class: "unseen" }, "Jobs of this node"), make("thead", {}, head), body);
  const empty = make("p", { class: "empty", hidden: "" });
  main.replaceChildren(heading,
    make("p", { class: "filter" }, make("label", { for: "filter" }, "Filter "), filter),
    count, table, empty);
  let answer = null;

  function draw() {
    if (!answer) return;
    const wanted = filter.value.trim().toLowerCase();
    const texts = (job) => [job.name, job.repository, job.workflow, job.pod, job.namespace, job.runner, job.result];
    const jobs = answer.jobs.filter((job) =>
      !wanted || texts(job).some((text) => text?.toLowerCase().includes(wanted)));
    const live = jobs.filter((job) => job.result === "running").length;
    const left = answer.leftOut ? `, and ${answer.leftOut} more that are not listed` : "";
    setText(count, `${live} running, ${jobs.length - live} ended in the last hour${left}`);
    table.hidden = !jobs.length;
    empty.hidden = Boolean(jobs.length);
    setText(empty, wanted && answer.jobs.length ? "No job matches the filter."
      : "No job has run in the last hour. A job appears here when it starts.");
    keyed(body, jobs, (job) => job.id, row, update);
  }

  function tick() {
    for (const cell of body.querySelectorAll("[data-since]")) {
      setText(cell, running(now() - Number(cell.dataset.since)));
    }
  }

  filter.addEventListener("input", draw);
  const timer = setInterval(tick, 1000);

  return {
    job: null,
    focus: () => heading.focus(),
    async load() {
      answer = await get("jobs");
      shell.node(answer.node);
      document.title = "Jobs \u00b7 ephemon";
      setText(heading, `Jobs on ${visible(answer.node)}`);
      draw();
      tick();
    },
    changed: (before, after) => before.jobs !== after.jobs,
    stop: () => clearInterval(timer),
  };
}

function row(job) {
  const link = make("a", { href: `#/jobs/${encodeURIComponent(job.id)}` });
  const cells = COLUMNS.map((name, at) => at === 1
    ? make("th", { scope: "row", "data-label": name }, link)
    : make("td", { "data-label": name, class: at > 4 ? "number" : "" }));
  return make("tr", {}, ...cells);
}

function update(row, job) {
  const cells = row.children;
  const { sign, word } = result(job);
  row.className = resultClass(job);
  const badge = cells[0].firstElementChild ?? cells[0].appendChild(make("span", { class: "badge" }));
  setText(badge, `${sign} ${word}`);
  setText(cells[1].firstElementChild, visible(job.name));
  setText(cells[2], visible(job.repository ?? `${job.namespace}/${job.pod}`));
  setText(cells[3], visible(job.workflow));
  setText(cells[4], clock(job.startUnixMs));
  if (job.endUnixMs == null) {
    cells[5].dataset.since = job.startUnixMs;
  } else {
    delete cells[5].dataset.since;
    setText(cells[5], duration(job.endUnixMs - job.startUnixMs));
  }
  const known = (value, text) => (value == null ? "" : text(value));
  setText(cells[6], known(job.usage.cpuSeconds, cpuSeconds));
  const killed = job.usage.oomKills ? ", OOM" : "";
  setText(cells[7], known(job.usage.memoryPeakBytes, bytes) + killed);
  setText(cells[8], String(job.stepCount));
}
