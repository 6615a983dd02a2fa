// Texts of values. All text that comes from jobs goes through visible().

// Control characters, marks that change the direction of text, and characters without a width: what
// is not seen could make one name look like another. Not the two that choose between the forms of an
// emoji (U+FE0E, U+FE0F).
const HIDDEN = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0d\ufeff\uffa0\ufff9-\ufffb]|[\u{e0000}-\u{e007f}\u{e0100}-\u{e01ef}]/gu;

/** A text in which hidden characters are seen. */
export function visible(text) {
  return String(text ?? "").replace(HIDDEN, (hidden) => {
    const code = hidden.codePointAt(0);
    if (code < 0x20) return String.fromCharCode(0x2400 + code);
    if (code === 0x7f) return "\u2421";
    return `\u2039U+${code.toString(16).toUpperCase().padStart(4, "0")}\u203a`;
  });
}

/** A duration in milliseconds: "42 ms", "0.42 s", "12.3 s", "3 min 07 s", "2 h 05 min". */
export function duration(ms) {
  if (ms == null) return "";
  if (ms < 100) return `${Math.max(0, Math.round(ms))} ms`;
  const seconds = ms / 1000;
  // Not what would be rounded to "10.00 s" and "60.0 s".
  if (seconds < 9.995) return `${seconds.toFixed(2)} s`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  return long(Math.round(seconds));
}

/** Whole seconds from a minute on. */
function long(seconds) {
  const pad = (value) => String(value).padStart(2, "0");
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${pad(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${pad(minutes % 60)} min`;
}

/** The same in whole seconds, for what runs. */
export function running(ms) {
  const seconds = Math.floor(Math.max(0, ms) / 1000);
  return seconds < 60 ? `${seconds} s` : long(seconds);
}

/** A time on an axis: "0", "30 s", "2:30", "1:05:00". */
export function axisTime(ms) {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return ms ? `${trimmed(ms / 1000)} s` : "0";
  const pad = (value) => String(value).padStart(2, "0");
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}:${pad(seconds % 60)}`;
  return `${Math.floor(minutes / 60)}:${pad(minutes % 60)}:${pad(seconds % 60)}`;
}

/** CPU time in seconds: "2.4 ms", "0.42 s", "12.3 s". Most steps use some milliseconds. */
export function cpuSeconds(seconds) {
  if (seconds == null) return "not known";
  if (seconds < 0.0995) return seconds ? `${(seconds * 1000).toFixed(1)} ms` : "0 s";
  return `${seconds < 10 ? seconds.toFixed(2) : seconds.toFixed(1)} s`;
}

/** Bytes: "12.3 MiB". */
export function bytes(count) {
  if (count == null) return "not known";
  let value = count;
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (value < 1024 || unit === "GiB") {
      return `${value >= 100 || unit === "B" ? Math.round(value) : value.toFixed(1)} ${unit}`;
    }
    value /= 1024;
  }
  return "";
}

/** Thousandths of a CPU: "0.25 CPU". */
export function cpus(millis) {
  return millis == null ? "not known" : `${trimmed(millis / 1000)} CPU`;
}

/** A number without zeros at its end. */
export function trimmed(value) {
  return String(Number(value.toFixed(value < 1 ? 2 : 1)));
}

/** The time of day. By `hour12: false` it would be 24 o'clock after midnight. */
export function clock(unixMs) {
  const options = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
  return new Date(unixMs).toLocaleTimeString([], options);
}

/** A date with its time; the month as a word, since countries order its number differently. */
export function moment(unixMs) {
  return new Date(unixMs).toLocaleString([], { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });
}

const RESULTS = {
  running: ["\u25b6", "running"],
  ending: ["\u2026", "ended"],
  success: ["\u2713", "success"],
  failure: ["\u2715", "failure"],
  error: ["!", "error"],
  timeout: ["\u23f1", "timeout"],
  cancellation: ["\u2298", "cancelled"],
  skip: ["\u2013", "skipped"],
  unknown: ["?", "not known"],
};

/** The sign and the word of a result. */
export function result(part) {
  const [sign, word] = RESULTS[part.result] ?? ["?", visible(part.result)];
  const details = [];
  if (part.fault && part.fault !== "exit_code") details.push(visible(part.fault));
  if (part.exitCode) details.push(`exit code ${part.exitCode}`);
  return { sign, word: details.length ? `${word}, ${details.join(", ")}` : word };
}

/** The name of a result as a class: only what is known. */
export function resultClass(part) {
  return part.result in RESULTS ? `r-${part.result}` : "r-error";
}
