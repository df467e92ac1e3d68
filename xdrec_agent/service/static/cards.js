// Recommendations as cards. Reads items of an answer, produces list items; reasons and pictures come in later.
import { text } from "./api.js";
import { coverAddress, el, plain, sign, webAddress } from "./dom.js";
import { language, t, titleOf } from "./words.js";

const SIGNS = {
  up: "M7 11v9H4v-9zM7 11l4-8c2 0 3 1 3 3v3h5c1 0 2 1 2 2l-2 7c0 1-1 2-2 2H7",
  down: "M7 13V4H4v9zM7 13l4 8c2 0 3-1 3-3v-3h5c1 0 2-1 2-2l-2-7c0-1-1-2-2-2H7",
  known: "M5 13l4 5L19 6",
};

/**
 * One card. `one` is a recommendation, `answer` its answer's id or null, `context`: `hosts` of covers, `titleFor(match)`
 * the title of what speaks for it or null, `opinion(item)` what was said of it, `judge(item, rank, opinion)` takes a new
 * one, `opened(item)` is told of a followed link, `waiting`: whether a reason is still to come.
 */
export function card(one, answer, context) {
  const { item } = one;
  const title = titleOf(item);
  const heading = el("h3", {}, el("bdi", {}, title));
  if (plain(item.title) !== title) heading.append(el("span", { class: "original", lang: item.language || null }, el("bdi", {}, plain(item.title))));
  const by = item.creators.map((name) => plain(name, 80)).join(", ");
  const made = el("p", { class: "made" }, el("bdi", {}, by), by && item.year ? " · " : "", item.year ? String(item.year) : "");
  const body = el("div", { class: "body" }, heading, made, el("div", { class: "reason" }), facts(one, context));
  if (answer) body.append(path(answer, one.rank, title));
  body.append(links(item, context), thumbs(one, context));
  const whole = el("li", { class: "card", "data-rank": one.rank, "data-id": item.id }, cover(item, title, context), body);
  reason(whole, one.explanation, context.waiting);
  return whole;
}

/** Put the reason into a card; while it is `waiting`, say so. */
export function reason(made, explanation, waiting) {
  const place = made.querySelector(".reason");
  if (!explanation) {
    place.replaceChildren(el("p", { class: waiting ? "coming" : "small" }, t(waiting ? "reason_coming" : "reason_none")));
    return;
  }
  place.replaceChildren(el("p", { lang: explanation.language }, plain(explanation.text, 2000)));
  if (explanation.source === "llm") return;
  const mark = t(explanation.source === "repaired" ? "reason_repaired" : "reason_plain");
  place.append(el("p", { class: "mark", title: explanation.reason ? plain(explanation.reason, 300) : null }, mark));
}

function facts(one, { titleFor }) {
  const list = el("dl", { class: "facts" });
  const speaking = one.matches.map((match) => [titleFor(match), match.share]).filter(([title]) => title).slice(0, 3);
  if (speaking.length) {
    const told = speaking.map(([title, share]) => el("li", {}, el("bdi", {}, title), ` ${Math.round(100 * share)}%`));
    list.append(el("div", {}, el("dt", {}, t("speaks")), el("dd", {}, el("ul", {}, ...told))));
  }
  if (one.confidence !== null) {
    const words = t("confidence", { percent: Math.round(100 * one.confidence) });
    list.append(el("div", {}, el("dt", {}, words), el("dd", { class: "small" }, t("confidence_more"))));
  }
  return list;
}

function path(answer, rank, title) {
  const place = el("div", { class: "picture", tabindex: "0", role: "group", "aria-label": t("path_of", { title }) });
  const shown = el("details", { class: "path" }, el("summary", {}, t("path")), place);
  // An <img> sends no key, so the picture is fetched; as an image it can run and load nothing.
  shown.addEventListener("toggle", async () => {
    if (!shown.open || place.firstChild) return;
    place.append(el("span", { class: "coming" }, t("loading")));
    try {
      const drawn = await text(`/v1/answers/${encodeURIComponent(answer)}/picture/${rank}.svg?language=${language()}`);
      const source = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(drawn)}`;
      place.replaceChildren(el("img", { src: source, alt: t("path_of", { title }) }));
    } catch {
      place.replaceChildren(el("span", { class: "small" }, t("path_none")));
    }
  });
  return shown;
}

function cover(item, title, { hosts }) {
  const found = item.media.map((one) => coverAddress(one, hosts)).find(Boolean);
  if (!found) return null;
  const image = el("img", { class: "cover", src: found, alt: t("cover_of", { title }), loading: "lazy", referrerpolicy: "no-referrer" });
  image.addEventListener("error", () => image.remove());
  return image;
}

function links(item, { hosts, opened }) {
  const list = el("p", { class: "links" });
  const elsewhere = item.media.filter((one) => !coverAddress(one, hosts));
  for (const [address, word] of [...item.links.map((one) => [one, "link"]), ...elsewhere.map((one) => [one, "cover"])].slice(0, 6)) {
    const url = webAddress(address);
    if (!url) continue;
    list.append(el("a", {
      href: url.href, target: "_blank", rel: "noopener noreferrer nofollow", onclick: () => opened(item),
    }, t(word, { host: plain(url.host, 60) })), " ");
  }
  return list;
}

function thumbs(one, { opinion, judge }) {
  const row = el("div", { class: "thumbs" });
  const buttons = Object.entries(SIGNS).map(([kind, drawn]) => el("button", {
    type: "button",
    "data-kind": kind,
    "aria-pressed": String(opinion(one.item) === kind),
    onclick: () => {
      const now = opinion(one.item) === kind ? null : kind;
      judge(one, now);
      for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.kind === now));
    },
  }, sign(drawn), t(kind)));
  row.append(...buttons);
  return row;
}
