// What the page knows. Reads nothing, produces the state that its parts share, and who asks in which direction.
import { byId } from "./dom.js";

export const page = {
  mode: "pick",
  likes: [],
  opinions: new Map(), // "domain id" → { item, rank, opinion }, of this and earlier rounds
  answer: null,
  titles: new Map(), // "domain id" → item or title of what was liked
  hosts: [],
  running: null,
};

/** What tells an item from all others. */
export const nameOf = (item) => `${item.domain} ${item.id}`;

/** The name that somebody gave themselves in this tab. */
export const user = () => sessionStorage.getItem("xdrec.user") || undefined;

/** From which domain to which. */
export const direction = () => ({ sources: [byId("source").value], target: byId("target").value });

/** "pick": titles are chosen; "write": it is said in words. */
export function setMode(mode) {
  page.mode = mode;
  document.querySelector(`input[name=mode][value=${mode}]`).checked = true;
  byId("pick").hidden = mode !== "pick";
  byId("write").hidden = mode !== "write";
}
