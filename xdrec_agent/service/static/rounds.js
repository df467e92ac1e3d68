// Rounds of recommendations. Reads likes and judgements, asks the service, shows the answer and takes what is said of it.
import { events, json } from "./api.js";
import { byId, plain } from "./dom.js";
import * as results from "./results.js";
import { direction, nameOf, page, user } from "./state.js";
import { language, t, titleOf } from "./words.js";

const SHOWN = 5;

/** What cards have to know; `waiting`: reasons are still to come. */
export function context(waiting) {
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
export async function run(work, again) {
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

/** Recommend by the titles that were chosen and what was judged. */
export function recommend() {
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

/** Put a reason to its place. */
export function explained(rank, explanation) {
  const one = page.answer?.items.find((item) => item.rank === rank);
  if (one) one.explanation = explanation;
  results.explain(rank, explanation);
}

/** The reasons again in the language that was chosen now; the service keeps what they are made of. */
export async function retell() {
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

/** Say why an item is missing. */
export async function whyNot(event) {
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
