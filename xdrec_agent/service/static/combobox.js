// Search as you type (the ARIA combobox with a list). Reads what is typed, produces the item that was chosen.
import { json } from "./api.js";
import { byId, el, plain } from "./dom.js";
import { t, titleOf } from "./words.js";

const PAUSE_MS = 150;

/**
 * Args: `domain()` names where to search, `choose(item)` takes the choice, `back()` is called on backspace in an empty
 * field, `say(text)` tells what was found.
 */
export function combobox(input, list, { domain, choose, back, say, trouble }) {
  let items = [];
  let at = -1;
  let timer = 0;
  let searching = null;

  function close() {
    clearTimeout(timer);
    searching?.abort();
    list.hidden = true;
    list.replaceChildren();
    [items, at] = [[], -1];
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function mark(next) {
    list.children[at]?.setAttribute("aria-selected", "false");
    at = (next + items.length) % items.length;
    const option = list.children[at];
    option.setAttribute("aria-selected", "true");
    option.scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", option.id);
  }

  function take(item) {
    input.value = "";
    close();
    choose(item);
  }

  function show(found) {
    close();
    items = found;
    list.append(...items.map((item, number) => {
      const about = [item.year, item.creators.map((name) => plain(name, 60)).join(", ")].filter(Boolean).join(" · ");
      const option = el("li", { role: "option", id: `${list.id}-${number}`, "aria-selected": "false" },
        el("bdi", {}, titleOf(item)), el("span", { class: "about" }, plain(about, 120)));
      option.addEventListener("pointerdown", (event) => event.preventDefault()); // the field keeps the focus
      option.addEventListener("click", () => take(item));
      return option;
    }));
    list.hidden = items.length === 0;
    input.setAttribute("aria-expanded", String(items.length > 0));
    say(items.length ? t("titles", { count: items.length }) : t("no_titles"));
  }

  async function search(typed) {
    searching?.abort();
    searching = new AbortController();
    const wanted = new URLSearchParams({ domain: domain(), q: typed, limit: "8" });
    try {
      show((await json(`/v1/items?${wanted}`, { signal: searching.signal })).items);
    } catch (error) {
      if (error.name !== "AbortError") trouble(error, () => search(typed));
    }
  }

  input.addEventListener("input", () => {
    clearTimeout(timer);
    const typed = input.value.trim();
    if (typed) timer = setTimeout(search, PAUSE_MS, typed);
    else close();
  });
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return; // Enter then ends a Chinese word
    if (event.key === "Backspace" && !input.value) back();
    if (event.key === "Escape") close();
    if (!items.length) return;
    const moves = { ArrowDown: at + 1, ArrowUp: at < 0 ? items.length - 1 : at - 1 };
    if (event.key in moves) mark(moves[event.key]);
    else if (event.key === "Enter") take(items[Math.max(at, 0)]);
    else return;
    event.preventDefault();
  });
  return { close };
}

/** Show what was chosen, each with a button that takes it back. */
export function chips(list, items, remove) {
  list.replaceChildren(...items.map((item) => el("li", {},
    el("bdi", {}, titleOf(item)),
    el("button", {
      type: "button",
      "aria-label": t("remove", { title: titleOf(item) }),
      onclick: () => { remove(item); byId("liked").focus(); },
    }, "×"))));
  list.hidden = items.length === 0;
}
