// The page. Reads clicks and keys, asks the service, shows what comes.
import { events, json } from "./api.js";
import { chips, combobox } from "./combobox.js";
import { byId, el, plain } from "./dom.js";
import * as results from "./results.js";
import { asTurn, clearThread, line } from "./thread.js";
import { domainName, language, preferred, speak, t, titleOf } from "./words.js";

const SHOWN = 5;
const page = {
  mode: "pick",
  likes: [],
  opinions: new Map(), // "domain id" → { item, rank, opinion }, of this and earlier rounds
  answer: null,
  titles: new Map(), // "domain id" → item or title of what was liked
  hosts: [],
  running: null,
};
const nameOf = (item) => `${item.domain} ${item.id}`;
const user = () => sessionStorage.getItem("xdrec.user") || undefined;
const direction = () => ({ sources: [byId("source").value], target: byId("target").value });

function context(waiting) {
  return {
    waiting,
    hosts: page.hosts,
    titleFor: (match) => {
      const found = page.titles.get(`${match.domain} ${match.item}`);
      return found ? titleOf(found) : null;
    },
    opinion: (item) => page.opinions.get(nameOf(item))?.opinion ?? null,
    judge,
    opened: (item) => tell(item, { kind: "click" }),
  };
}

/** Run one question at a time; a new one stops the old one. */
async function run(work, again) {
  page.running?.abort();
  const mine = new AbortController();
  page.running = mine;
  results.begin();
  try {
    await work(mine.signal);
  } catch (error) {
    if (page.running !== mine) return;
    if (error.name === "AbortError") results.status(t("stopped"));
    else results.trouble(error, again);
  } finally {
    if (page.running === mine) {
      page.running = null;
      results.end();
    }
  }
}

function recommend() {
  const said = [...page.opinions.values()];
  const refs = (kind) => said.filter((one) => one.opinion === kind).map(({ item }) => ({ domain: item.domain, id: item.id }));
  const liked = page.likes.map(({ domain, id }) => ({ domain, id }));
  const known = said.filter((one) => one.opinion === "known");
  if (!liked.length && !user()) {
    results.status(t("choose"));
    byId("liked").focus();
    return;
  }
  const target = direction().target;
  const here = (ref) => ref.domain === target || direction().sources.includes(ref.domain);
  const ask = {
    ...direction(), user: user(), language: language(), k: Math.min(100, SHOWN + known.length),
    likes: [...liked, ...refs("up").filter(here)], dislikes: refs("down").filter(here),
  };
  const hidden = (item) => page.opinions.get(nameOf(item))?.opinion === "known";
  run(async (signal) => {
    let count = 0;
    for await (const event of events("/v1/recommend/stream", ask, signal)) {
      if (event.type === "ranking") {
        const items = event.answer.items.filter((one) => !hidden(one.item)).slice(0, SHOWN);
        page.answer = { ...event.answer, items };
        count = results.rank(page.answer, context(true));
      } else if (event.type === "explanation") explained(event.rank, event.explanation);
      else if (event.type === "done" && count) results.status(t("ready", { count }));
    }
  }, recommend);
}

function send(text, shown = text) {
  line(true, shown);
  const turn = () => run(async (signal) => {
    const dialogue = sessionStorage.getItem("xdrec.dialogue");
    const ask = dialogue ? { text, dialogue, user: user() } : { text, user: user(), language: language(), ...direction() };
    try {
      await reply(ask, signal);
    } catch (error) {
      if (!dialogue || error.status !== 404) throw error;
      sessionStorage.removeItem("xdrec.dialogue");
      line(false, t("lost"));
      await reply({ text, user: user(), language: language(), ...direction() }, signal);
    }
  }, turn);
  turn();
}

async function reply(ask, signal) {
  let ranked = null;
  for await (const event of events("/v1/chat", ask, signal)) {
    if (event.type === "understood") understood(event);
    else if (event.type === "said") line(false, event.text);
    else if (event.type === "asked") line(false, event.text, event.options, send);
    else if (event.type === "ranked") {
      page.answer = event.answer;
      if (event.answer.id) sessionStorage.setItem("xdrec.answer", event.answer.id);
      ranked = results.rank(event.answer, context(true));
    } else if (event.type === "explained") {
      explained(event.item.rank, event.item.explanation);
      if (ranked === null) line(false, `${event.item.rank}. ${event.item.explanation?.text || t("reason_none")}`);
    } else if (event.type === "done" && event.dialogue) sessionStorage.setItem("xdrec.dialogue", event.dialogue);
  }
  if (ranked) results.status(t("ready", { count: ranked }));
  else if (ranked === null) results.status("");
}

function explained(rank, explanation) {
  const one = page.answer?.items.find((item) => item.rank === rank);
  if (one) one.explanation = explanation;
  results.explain(rank, explanation);
}

/** The reasons again in the language that was chosen now; the service keeps what they are made of. */
async function retell() {
  const { id, items } = page.answer;
  if (!id) return;
  for (const { rank } of items) {
    try {
      const { text, source, language: spoken } = await json("/v1/explain", { body: { answer: id, kind: "why", rank, language: language() } });
      if (page.answer.id === id && spoken === language()) explained(rank, { text, source, language: spoken, reason: null });
    } catch (error) {
      return results.trouble(error, retell);
    }
  }
}

function understood(event) {
  for (const one of [...event.state.likes, ...event.state.dislikes]) page.titles.set(nameOf(one.item), one.item);
  if (event.degraded) line(false, t("degraded_why", { reason: event.reason || "" }));
  if (event.text) line(false, event.text);
}

function judge(one, opinion) {
  if (opinion) page.opinions.set(nameOf(one.item), { item: one.item, rank: one.rank, opinion });
  else page.opinions.delete(nameOf(one.item));
  results.status(t(opinion ? "noted" : "unnoted"));
  if (opinion === "known") tell(one.item, { kind: "known" });
  else if (opinion) tell(one.item, { kind: "rating", value: opinion === "up" ? 5 : 1 });
}

async function tell(item, what) {
  const body = { item: { domain: item.domain, id: item.id }, answer: page.answer?.id ?? undefined, user: user(), ...what };
  try {
    await json("/v1/feedback", { body, keepalive: true });
  } catch (error) {
    results.trouble(error, () => tell(item, what));
  }
}

function nextRound() {
  if (page.mode === "pick") return recommend();
  const shown = new Set((page.answer?.items || []).map((one) => nameOf(one.item)));
  send(asTurn([...page.opinions.values()].filter((one) => shown.has(nameOf(one.item)))));
  return undefined;
}

async function whyNot(event) {
  event.preventDefault();
  const item = byId("missing").value.trim();
  if (!item || !page.answer?.id) return;
  const place = byId("why-not-answer");
  place.textContent = t("loading");
  try {
    const told = await json("/v1/explain", { body: { answer: page.answer.id, kind: "why-not", item, language: language() } });
    place.textContent = plain(told.text, 1500);
  } catch (error) {
    const titles = (error.nearest || []).map((one) => plain(one, 80)).join(", ");
    const said = error.status ? plain(error.message, 300) : t("away");
    place.textContent = titles ? t("nearest", { titles }) : said;
  }
}

/** Take up the dialogue of this tab, if there is one. */
async function resume() {
  const id = sessionStorage.getItem("xdrec.dialogue");
  if (!id) return;
  const wanted = new URLSearchParams(user() ? { user: user() } : {});
  let kept;
  try {
    kept = await json(`/v1/dialogues/${encodeURIComponent(id)}?${wanted}`);
  } catch (error) {
    if (error.status !== 404) return results.trouble(error, resume);
    return sessionStorage.removeItem("xdrec.dialogue");
  }
  clearThread();
  for (const turn of kept.turns) {
    line(true, turn.said);
    if (turn.replied) line(false, turn.replied);
  }
  for (const one of [...kept.state.likes, ...kept.state.dislikes]) page.titles.set(nameOf(one.item), one.item);
  if (kept.state.sources[0]) byId("source").value = kept.state.sources[0];
  if (kept.state.target) byId("target").value = kept.state.target;
  setMode("write");
  if (!kept.answer) return results.status(t("resumed"));
  page.answer = await explainedAnswer(kept.answer);
  return results.rank(page.answer, context(false));
}

/** A dialogue's last ranking with the reasons, which are kept with the answer and not with the dialogue. */
async function explainedAnswer(ranking) {
  const id = sessionStorage.getItem("xdrec.answer");
  if (!id) return ranking;
  const whole = await json(`/v1/answers/${encodeURIComponent(id)}`).catch(() => ranking);
  const names = (answer) => answer.items.map((one) => nameOf(one.item)).join("\n");
  return names(whole) === names(ranking) ? whole : ranking;
}

function setMode(mode) {
  page.mode = mode;
  document.querySelector(`input[name=mode][value=${mode}]`).checked = true;
  byId("pick").hidden = mode !== "pick";
  byId("write").hidden = mode !== "write";
}

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
