// The place of the results. Reads events of an answer, produces cards and what is said about how it goes.
import { byId, el, plain } from "./dom.js";
import { card, reason } from "./cards.js";
import { t } from "./words.js";

const MOST_WAIT_S = 120;
let waiting = 0;

/** Say how it goes, to eyes and to screen readers. */
export function status(text) {
  byId("status").textContent = text;
}

/** Begin anew: nothing shown but that something is under way. */
export function begin() {
  calm();
  status(t("loading"));
  byId("results").setAttribute("aria-busy", "true");
  byId("stop").hidden = false;
}

/** Nothing is under way any more; reasons that did not come will not. */
export function end() {
  byId("results").setAttribute("aria-busy", "false");
  byId("stop").hidden = true;
  for (const place of document.querySelectorAll(".reason .coming")) reason(place.closest(".card"), null, false);
}

/** Show a ranking; how many items it has. */
export function rank(answer, context) {
  const { items } = answer;
  byId("cards").replaceChildren(...items.map((one) => card(one, answer.id, context)));
  byId("empty").hidden = true;
  byId("after").hidden = items.length === 0;
  byId("why-not-answer").textContent = "";
  byId("missing").value = "";
  const why = answer.degraded ? t("degraded_why", { reason: plain(answer.reason || "", 240) }) : "";
  byId("degraded").replaceChildren(...(answer.degraded ? [el("strong", {}, t("degraded")), ` ${why}`] : []));
  byId("degraded").hidden = !answer.degraded;
  if (matchMedia("(max-width: 860px)").matches) byId("results").scrollIntoView();
  status(items.length ? t(context.waiting ? "ranked" : "ready", { count: items.length }) : t("nothing"));
  return items.length;
}

/** Put a reason into the card of its rank. */
export function explain(place, explanation) {
  const made = document.querySelector(`.card[data-rank="${Number(place)}"]`);
  if (made && explanation) reason(made, explanation, false);
}

/** Show no recommendations. */
export function clear() {
  calm();
  byId("cards").replaceChildren();
  byId("empty").hidden = false;
  byId("after").hidden = true;
  byId("degraded").hidden = true;
  status("");
}

function calm() {
  clearInterval(waiting);
  byId("trouble").hidden = true;
  byId("trouble").replaceChildren();
}

/** Say what went wrong and offer `again`; after a 429 wait as told and then do it. */
export function trouble(error, again) {
  calm();
  status("");
  const place = byId("trouble");
  place.hidden = false;
  const retry = el("button", { type: "button", onclick: () => { calm(); again(); } }, t("again"));
  if (error.status === 429) {
    wait(place, Math.min(Math.max(1, error.after), MOST_WAIT_S), retry, again);
    return;
  }
  const said = { 0: "away", 401: "key_needed", 503: "away" }[error.status];
  place.append(el("p", {}, said ? t(said) : plain(error.message, 300) || t("failed")));
  if (error.nearest?.length) place.append(el("p", {}, t("nearest", { titles: error.nearest.map((one) => plain(one, 80)).join(", ") })));
  else if (!said && error.hint) place.append(el("p", { class: "small" }, plain(error.hint, 200)));
  place.append(retry);
  if (error.status === 401) {
    byId("account").open = true;
    byId("key").focus();
  }
}

function wait(place, seconds, retry, again) {
  let left = seconds;
  const words = el("p", {}, t("busy", { seconds: left }));
  const clock = el("p", { class: "small", "aria-hidden": "true" }, `${left} s`);
  place.append(words, clock, retry);
  waiting = setInterval(() => {
    left -= 1;
    clock.textContent = `${left} s`;
    if (left > 0) return;
    calm();
    again();
  }, 1000);
}
