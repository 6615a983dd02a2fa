// The API: requests, and the stream of changes.

const API = "/api/v1/";

/** How far the agent's clock is ahead of this one, milliseconds. */
let ahead = 0;

/** The agent's time. */
export function now() {
  return Date.now() + ahead;
}

/** An answer that is none. */
export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

/** Asks for a path below the API. */
export async function get(path) {
  let response;
  for (let attempt = 0; ; attempt += 1) {
    response = await fetch(API + path, { cache: "no-store" });
    if (response.status !== 503 || attempt === 3) break;
    // Too many requests are in progress, and the agent says when to come back.
    const seconds = Number(response.headers.get("retry-after")) || 1;
    await new Promise((done) => setTimeout(done, seconds * 1000));
  }
  if (!response.ok) {
    let text = `the agent answered ${response.status}`;
    if ((response.headers.get("content-type") ?? "").startsWith("application/json")) {
      text = (await response.json()).error ?? text;
    }
    throw new Refused(response.status, text);
  }
  const answer = await response.json();
  if (answer.nowUnixMs) ahead = answer.nowUnixMs - Date.now();
  return answer;
}

/** Follows changes of a job, or of the list, until it is stopped. `told` gets the numbers of each
 * change; `state` gets "live", "waiting" or "paused". */
export function follow(job, told, state) {
  const path = job ? `${API}events?job=${encodeURIComponent(job)}` : `${API}events`;
  let stream = null;
  let timer = null;
  let doubt = null;
  let stopped = false;

  function open() {
    if (stopped || stream || document.hidden) return;
    clearTimeout(timer);
    stream = new EventSource(path);
    stream.addEventListener("change", (event) => {
      clearTimeout(doubt);
      state("live");
      told(JSON.parse(event.data));
    });
    stream.addEventListener("error", () => {
      // The end of a stream is an error, too, after which the browser asks again by itself. It does
      // not after a refusal.
      clearTimeout(doubt);
      doubt = setTimeout(() => state("waiting"), 4000);
      if (!stream || stream.readyState !== EventSource.CLOSED) return;
      close();
      state("waiting");
      timer = setTimeout(open, 5000);
    });
  }

  function close() {
    clearTimeout(timer);
    clearTimeout(doubt);
    if (stream) stream.close();
    stream = null;
  }

  function seen() {
    if (document.hidden) {
      close();
      state("paused");
    } else {
      open();
    }
  }

  document.addEventListener("visibilitychange", seen);
  open();
  return () => {
    stopped = true;
    document.removeEventListener("visibilitychange", seen);
    close();
  };
}
