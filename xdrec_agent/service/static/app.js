// The page. Reads clicks and keys, and has the parts do what they ask for.
import { json } from "./api.js";
import { chips, combobox } from "./combobox.js";
import { byId, el } from "./dom.js";
import * as results from "./results.js";
import { context, recommend, retell, whyNot } from "./rounds.js";
import { nameOf, page, setMode, user } from "./state.js";
import { resume, sayOpinions, send } from "./talk.js";
import { clearThread } from "./thread.js";
import { domainName, preferred, speak, t } from "./words.js";

/** Another round, asked for in the way that was chosen. */
const nextRound = () => (page.mode === "pick" ? recommend() : sayOpinions());

function showLikes() {
  chips(byId("chips"), page.likes, (item) => {
    page.likes = page.likes.filter((one) => one !== item);
    showLikes();
  });
}

/** Another direction is another question: what was liked of another domain, and the dialogue, do not belong to it. */
function redirected() {
  page.likes = page.likes.filter((item) => item.domain === byId("source").value);
  showLikes();
  forget();
}

async function open() {
  const known = await json("/page.json");
  page.hosts = known.cover_hosts;
  byId("key-field").hidden = !known.keys_required;
  const usable = (await json("/v1/domains")).domains.filter((one) => one.items > 0).map((one) => one.domain);
  const fill = (select, chosen) => select.replaceChildren(
    ...usable.map((domain) => el("option", { value: domain, selected: domain === chosen }, domainName(domain))));
  // Films to books if they are there: the demo's direction.
  const source = usable.includes("films") ? "films" : usable[0];
  fill(byId("source"), source);
  fill(byId("target"), usable.includes("books") && source !== "books" ? "books" : usable.find((one) => one !== source));
  if (usable.length < 2) results.status(t("two_needed"));
  await resume();
}

function start() {
  return open().catch((error) => results.trouble(error, start));
}

function inLanguage(wanted, chosen = false) {
  speak(wanted, { chosen });
  for (const name of ["en", "zh"]) byId(`lang-${name}`).setAttribute("aria-pressed", String(name === wanted));
  for (const option of document.querySelectorAll(".direction option")) option.textContent = domainName(option.value);
  showLikes();
  theme();
  if (page.answer && !page.running) {
    results.rank(page.answer, context(false));
    if (chosen) retell();
  }
}

const dark = () => (document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

function theme() {
  byId("theme").textContent = t(dark() ? "light" : "dark");
}

function listen() {
  const { close } = combobox(byId("liked"), byId("found"), {
    domain: () => byId("source").value,
    choose: (item) => {
      page.titles.set(nameOf(item), item);
      if (!page.likes.some((one) => nameOf(one) === nameOf(item))) page.likes.push(item);
      showLikes();
    },
    back: () => { page.likes.pop(); showLikes(); },
    say: results.status,
    trouble: results.trouble,
  });
  const other = (one) => [...one.options].find((option) => option.value !== one.value)?.value;
  for (const [mine, its] of [["source", "target"], ["target", "source"]]) {
    byId(mine).addEventListener("change", () => {
      if (byId(mine).value === byId(its).value) byId(its).value = other(byId(its)) ?? byId(its).value;
      redirected();
    });
  }
  byId("swap").addEventListener("click", () => {
    [byId("source").value, byId("target").value] = [byId("target").value, byId("source").value];
    redirected();
  });
  for (const radio of document.querySelectorAll("input[name=mode]")) radio.addEventListener("change", () => setMode(radio.value));
  byId("pick").addEventListener("submit", (event) => { event.preventDefault(); close(); recommend(); });
  byId("chat").addEventListener("submit", (event) => { event.preventDefault(); say(); });
  byId("said").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    say();
  });
  byId("anew").addEventListener("click", anew);
  byId("stop").addEventListener("click", () => page.running?.abort());
  byId("next").addEventListener("click", nextRound);
  byId("why-not").addEventListener("submit", whyNot);
  byId("who").addEventListener("submit", identify);
  for (const name of ["en", "zh"]) byId(`lang-${name}`).addEventListener("click", () => inLanguage(name, true));
  byId("theme").addEventListener("click", () => {
    const wanted = dark() ? "light" : "dark";
    document.documentElement.dataset.theme = wanted;
    localStorage.setItem("xdrec.theme", wanted);
    theme();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", theme);
}

function say() {
  const text = byId("said").value.trim();
  if (!text) return byId("said").focus();
  byId("said").value = "";
  return send(text);
}

function anew() {
  forget();
  byId("said").focus();
}

function forget() {
  page.running?.abort();
  page.running = null;
  for (const name of ["dialogue", "answer"]) sessionStorage.removeItem(`xdrec.${name}`);
  page.opinions.clear();
  page.answer = null;
  clearThread();
  results.end();
  results.clear();
}

function identify(event) {
  event.preventDefault();
  for (const name of ["user", "key"]) {
    const given = byId(name).value.trim();
    if (given) sessionStorage.setItem(`xdrec.${name}`, given);
    else sessionStorage.removeItem(`xdrec.${name}`);
  }
  results.clear();
  start().then(() => { if (byId("trouble").hidden) results.status(t("used")); });
}

byId("user").value = user() || "";
byId("key").value = sessionStorage.getItem("xdrec.key") || "";
listen();
inLanguage(preferred());
start();
