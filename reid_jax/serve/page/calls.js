// Calls of the JSON interface.

export class Refusal extends Error {
  constructor(message, status, wait) {
    super(message);
    this.status = status;
    this.wait = wait; // seconds after which the server asks to be called again; 0 where it does not
  }
}

async function refusalOf(response) {
  let message = `the server answered ${response.status}`;
  try {
    message = (await response.json()).error;
  } catch {
    // no JSON: something between here and the server answered
  }
  if (response.status === 401) location.reload(); // the token changed: its page asks for it
  return new Refusal(message, response.status, Number(response.headers.get("retry-after")) || 0);
}

export async function call(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("the server does not answer; is it still running?", 0, 0);
  }
  if (!response.ok) throw await refusalOf(response);
  return response.json();
}

const pause = (seconds, signal) =>
  new Promise((done, failed) => {
    const timer = setTimeout(done, seconds * 1000);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      failed(new DOMException("stopped", "AbortError"));
    });
  });

// Calls again for as long as the server says that it is busy.
export async function callPatiently(path, options = {}) {
  for (let tries = 0; ; tries += 1) {
    try {
      return await call(path, options);
    } catch (error) {
      if (!(error instanceof Refusal) || !error.wait || tries === 20) throw error;
      await pause(error.wait, options.signal);
    }
  }
}

export const sendJson = (path, value) =>
  call(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(value) });

export const wait = pause;
