// Which view is shown, and keeping it up to date.

import { jobsView } from "/page/jobs.js";
import { jobView } from "/page/job.js";
import { follow } from "/page/source.js";
import { make, setText } from "/page/dom.js";
import { visible } from "/page/text.js";

const main = document.getElementById("content");
const connection = document.getElementById("connection");
const nodeName = document.getElementById("node");

const STATES = { live: "live", waiting: "reconnecting", paused: "paused", failed: "no connection" };

const shell = {
  node: (name) => setText(nodeName, visible(name)),
};

let leave = () => {};

/** Shows what the address says. */
function show(focus) {
  leave();
  const match = /^#\/jobs\/([^/]+)$/.exec(location.hash);
  const view = match ? jobView(main, shell, decoded(match[1])) : jobsView(main, shell);
  let seen = null;
  let wanted = null;
  let busy = false;
  let left = false;

  // One load at a time; what changes meanwhile is loaded after it.
  async function load() {
    if (busy) return;
    busy = true;
    while (wanted && !left) {
      const [before, after] = [seen, wanted];
      wanted = null;
      try {
        if (!before || view.changed(before, after)) await view.load(before, after);
        seen = after;
        trouble("");
      } catch (error) {
        // Later changes ask again for all of it.
        seen = null;
        if (!left) failed(error);
        break;
      }
    }
    busy = false;
  }

  const stop = follow(view.job, (cursors) => {
    wanted = cursors;
    load();
  }, state);
  // Also without a stream of events, as when there are too many clients.
  const timer = setInterval(() => {
    if (connection.dataset.state === "waiting") {
      wanted = { jobs: Math.random(), job: Math.random(), samples: Math.random(), log: Math.random() };
      load();
    }
  }, 5000);
  leave = () => {
    left = true;
    clearInterval(timer);
    stop();
    view.stop();
  };
  if (focus) view.focus();
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}

function state(name) {
  connection.dataset.state = name;
  setText(connection, STATES[name]);
}

function failed(error) {
  if (error.status == null) state("failed");
  trouble(error.status == null ? "The agent does not answer." : `The agent says: ${visible(error.message)}.`);
}

function trouble(text) {
  let box = document.getElementById("trouble");
  if (!text) return box?.remove();
  if (!box) {
    box = make("p", { id: "trouble", class: "trouble", role: "alert" });
    main.before(box);
  }
  setText(box, text);
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener("hashchange", () => show(true));
show(false);
