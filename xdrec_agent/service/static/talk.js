// The conversation. Reads what is written, sends it as turns of one dialogue, shows the reply as it comes.
import { events, json } from "./api.js";
import { byId } from "./dom.js";
import * as results from "./results.js";
import { context, explained, run } from "./rounds.js";
import { direction, nameOf, page, setMode, user } from "./state.js";
import { asTurn, clearThread, line } from "./thread.js";
import { language, t } from "./words.js";

/** Say something, `shown` as this in the conversation. */
export function send(text, shown = text) {
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
    }
  }
  if (ranked) results.status(t("ready", { count: ranked }));
  else if (ranked === null) results.status("");
}

function understood(event) {
  if (event.dialogue) sessionStorage.setItem("xdrec.dialogue", event.dialogue); // a reply that is stopped is gone on from
  for (const one of [...event.state.likes, ...event.state.dislikes]) page.titles.set(nameOf(one.item), one.item);
  if (event.degraded) line(false, t("degraded_why", { reason: event.reason || "" }));
  if (event.text) line(false, event.text);
}

/** Say what was thought of the items that are shown, and ask for others. */
export function sayOpinions() {
  const shown = new Set((page.answer?.items || []).map((one) => nameOf(one.item)));
  send(asTurn([...page.opinions.values()].filter((one) => shown.has(nameOf(one.item)))));
}

/** Take up the dialogue of this tab, if there is one. */
export async function resume() {
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
