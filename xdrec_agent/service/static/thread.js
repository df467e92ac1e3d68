// The conversation as it is read. Reads what was said, produces lines; options of a question are buttons.
import { byId, el, plain } from "./dom.js";
import { t } from "./words.js";

/** Add what somebody said. `answer(text)`: called with the option that was chosen of `options`. */
export function line(mine, text, options = [], answer = null) {
  const thread = byId("thread");
  const buttons = options.map((option, number) => el("button", {
    type: "button", class: "option", onclick: () => answer(options.length <= 5 ? String(number + 1) : option, option),
  }, plain(option, 120)));
  thread.append(el("div", { class: mine ? "mine" : "theirs" },
    el("span", { class: "unseen" }, `${t(mine ? "you" : "me")}: `),
    ...String(text).split("\n").filter((part) => part.trim()).map((part) => el("p", { dir: "auto" }, plain(part, 2000))),
    buttons.length ? el("div", { class: "options" }, ...buttons) : null));
  thread.scrollTop = thread.scrollHeight;
}

/** Forget the lines. */
export const clearThread = () => byId("thread").replaceChildren();

/** What was thought of shown items as a turn that the service reads: places, not titles, so nothing can be misread. */
export function asTurn(opinions) {
  const said = ["like", "dislike", "known"].map((kind, number) => {
    const places = opinions.filter((one) => one.opinion === ["up", "down", "known"][number]).map((one) => t("place", { number: one.rank }));
    return places.length ? t(`chat_${kind}`, { places: places.join(t("and")) }) : null;
  });
  return [...said.filter(Boolean), t("chat_next")].join(" ");
}
