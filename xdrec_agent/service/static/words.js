// Words in the chosen language. Reads the choice, produces texts, and puts them into the page.
import en from "./words.en.js";
import zh from "./words.zh.js";
import { plain } from "./dom.js";

const LANGUAGES = { en, zh };
let now = "en";

/** The language that was chosen: "en" or "zh". */
export const language = () => now;

/** The text with this name, with {places} filled in. */
export function t(name, values = {}) {
  return LANGUAGES[now][name].replace(/\{(\w+)\}/gu, (_, place) => String(values[place]));
}

/** What a domain is called. */
export const domainName = (domain) => LANGUAGES[now].domains[domain] || plain(domain, 60);

/** The language that was chosen before, or else the browser's. */
export function preferred() {
  const before = localStorage.getItem("xdrec.language");
  return before in LANGUAGES ? before : navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

/** Speak this language from now on, also next time if it was `chosen`. */
export function speak(wanted, { chosen = false } = {}) {
  now = wanted;
  if (chosen) localStorage.setItem("xdrec.language", wanted);
  document.documentElement.lang = wanted;
  document.title = t("title");
  for (const node of document.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  for (const node of document.querySelectorAll("[data-t-label]")) node.setAttribute("aria-label", t(node.dataset.tLabel));
  for (const node of document.querySelectorAll("[data-t-placeholder]")) node.placeholder = t(node.dataset.tPlaceholder);
}

/** An item's title as it is known to those who speak the language: in Chinese its last alias in Chinese, as in reasons. */
export function titleOf(item) {
  const chinese = (name) => /\p{Script=Han}/u.test(name) && !/[\p{Script=Hiragana}\p{Script=Katakana}]/u.test(name);
  const alias = now === "zh" && (item.aliases || []).filter(chinese).at(-1);
  return plain(alias || item.title);
}
