// What the page hears of its process: new roots by server-sent events, and the
// status by asking, because the state of a sync changes without a new root.

const quick = 1000, calm = 2000, slowest = 15_000; // milliseconds between two questions
const patience = 8000; // for an answer

// follow calls on.status, on.root and on.link from now on. on.link hears "live"
// (events come), "polling" (only answers do) or "lost", and in words why. A page
// that nobody sees asks for nothing.
export function follow(on) {
  let stream = null, streaming = false, reason = "";
  let failures = 0, waiting = null, retry = null, pause = 1000;

  const tell = () => {
    if (failures > 0) on.link("lost", reason);
    else on.link(streaming ? "live" : "polling", reason);
  };

  async function ask() {
    waiting = null;
    let next = quick;
    try {
      const answer = await fetch("v1/status", { cache: "no-store", signal: AbortSignal.timeout(patience) });
      if (!answer.ok) throw new Error(`the process answers ${answer.status}`);
      const status = await answer.json();
      failures = 0;
      on.status(status);
      next = status.state === "syncing" ? quick : calm;
    } catch (err) {
      failures++;
      reason = err.name === "TimeoutError" ? "no answer" : err.name === "TypeError" ? "" : err.message;
      next = Math.min(quick * 1.5 ** failures, slowest);
    }
    tell();
    schedule(next);
  }

  function schedule(ms) {
    clearTimeout(waiting);
    waiting = document.hidden ? null : setTimeout(ask, ms);
  }

  function listen() {
    stream?.close();
    clearTimeout(retry);
    stream = new EventSource("v1/watch");
    const root = (e) => {
      pause = 1000;
      on.root(JSON.parse(e.data));
    };
    stream.onopen = () => {
      streaming = true;
      tell();
    };
    stream.addEventListener("root", root);
    stream.addEventListener("reset", root);
    stream.addEventListener("end", (e) => {
      reason = JSON.parse(e.data).detail ?? "";
      again();
    });
    stream.onerror = again;
  }

  // again waits longer each time; the browser's own way to retry does not, and
  // gives up for good when the answer is no stream.
  function again() {
    const was = streaming;
    stream?.close();
    streaming = false;
    clearTimeout(retry);
    retry = document.hidden ? null : setTimeout(listen, pause);
    pause = Math.min(pause * 2, slowest);
    if (was) schedule(0); // ask whether anybody is there at all
    else tell();
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      stream?.close();
      streaming = false;
      clearTimeout(retry);
    } else {
      listen();
    }
    schedule(0);
  });
  if (!document.hidden) listen();
  schedule(0);
}
