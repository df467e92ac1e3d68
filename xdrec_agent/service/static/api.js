// Talks to the service. Reads requests, produces replies, events of a stream, and errors that say what to do.

const key = () => sessionStorage.getItem("xdrec.key") || "";

/** What the service refused, or that it is away (`status` 0). `after`: seconds until it may be asked again. */
export class Trouble extends Error {
  constructor(status, problem = {}, after = 0) {
    super(problem.detail || "");
    this.status = status;
    this.hint = problem.hint || "";
    this.nearest = problem.nearest || [];
    this.after = after;
  }
}

async function asked(path, { body, method, signal, keepalive } = {}) {
  const headers = {};
  if (body !== undefined) headers["content-type"] = "application/json";
  if (key()) headers.authorization = `Bearer ${key()}`;
  let reply;
  try {
    reply = await fetch(path, {
      method: method || (body === undefined ? "GET" : "POST"),
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
      keepalive,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Trouble(0);
  }
  if (reply.ok) return reply;
  const problem = await reply.json().catch(() => ({}));
  throw new Trouble(reply.status, problem, Number(reply.headers.get("retry-after")) || 0);
}

/** The JSON of a reply. */
export const json = async (path, options) => (await asked(path, options)).json();

/** The text of a reply. */
export const text = async (path, options) => (await asked(path, options)).text();

/** The events of a stream, each as its data, as they come. What fails on the way is thrown as Trouble. */
export async function* events(path, body, signal) {
  const reply = await asked(path, { body, signal });
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await read(reader);
    if (done) return;
    const blocks = (rest + value.replaceAll("\r", "")).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const event = parsed(block);
      if (event?.name === "error") throw new Trouble(event.data.status, event.data);
      if (event) yield event.data;
    }
  }
}

async function read(reader) {
  try {
    return await reader.read();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Trouble(0);
  }
}

function parsed(block) {
  let name = "message";
  const data = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /u, ""));
  }
  return data.length ? { name, data: JSON.parse(data.join("\n")) } : null; // no data: it only keeps the line open
}
