// Builds elements. Whatever is shown goes in as text: nothing here makes HTML of a string.

/** An element with attributes (true: present; null, false: absent; on…: a listener) and children (nodes or texts). */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== null && value !== false && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

/** A small drawing in the colour of the text around it, not seen by screen readers; `path` is ours. */
export function sign(path) {
  const space = "http://www.w3.org/2000/svg";
  const drawn = document.createElementNS(space, "svg");
  for (const [name, value] of [["viewBox", "0 0 24 24"], ["class", "sign"], ["aria-hidden", "true"]]) drawn.setAttribute(name, value);
  const line = document.createElementNS(space, "path");
  line.setAttribute("d", path);
  drawn.append(line);
  return drawn;
}

export const byId = (id) => document.getElementById(id);

// Control characters, and those that turn the direction of what follows: a title could hide in them.
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]+/gu;

/** A text of a catalogue, a person or a model on one line, at most `most` characters long. */
export function plain(text, most = 300) {
  const line = String(text).replace(HIDDEN, " ").replace(/\s+/gu, " ").trim();
  const letters = Array.from(line);
  return letters.length > most ? `${letters.slice(0, most - 1).join("")}…` : line;
}

/** The address if it leads to a web page, else null. */
export function webAddress(text) {
  const url = URL.canParse(text) ? new URL(text) : null;
  return url && (url.protocol === "https:" || url.protocol === "http:") ? url : null;
}

/** Where a cover can be loaded from without telling strangers who looks at it, else null. */
export function coverAddress(text, hosts) {
  if (/^data:image\/(png|jpeg|webp|gif|avif);base64,/u.test(text)) return text;
  const url = webAddress(text);
  return url && (url.origin === location.origin || (url.protocol === "https:" && hosts.includes(url.host))) ? url.href : null;
}
