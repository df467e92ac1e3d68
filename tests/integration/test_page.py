"""Promises of the page, kept by a real Chromium against a real service process over the demo pack."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from fake_llm import FakeLLM
from playwright.sync_api import expect, sync_playwright
from socket_llm import SocketLLM
from word_encoder import WordEncoder
from words_service import running

from retrieval.index import Index
from retrieval.ingest import IngestRequest, ingest
from retrieval.settings import IndexSettings
from retrieval.store import Store
from retrieval.templates import load_template
from xdrec_agent.app import Keys
from xdrec_agent.settings import Settings

pytestmark = pytest.mark.integration
expect.set_options(timeout=20_000)

ROOT = Path(__file__).resolve().parents[2]
PACK = ROOT / "examples" / "films-books"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
    "AAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SHARED = {"categories": "quxology", "themes": "zorpism|blimfulness", "description": "Quxology zorpism blimfulness."}
IMAGE = '<img src=x onerror="document.title=1">Hostile'
HOSTILE = [
    {
        "id": "h1",
        "title": IMAGE,
        "creators": "<script>document.title=1</script>",
        "links": "javascript:document.title=1",
    },
    {"id": "h2", "title": "Turned \u202egnorw\u202c way", "links": "https://example.org/a?b=1", "media": PIXEL},
    {"id": "h3", "title": "Endless" * 60, "media": "https://covers.example.org/h3.jpg"},
]


def catalogue(folder, domain, more):
    """The pack's catalogue of the domain with more rows, as a file."""
    path = folder / f"{domain}.csv"
    with (PACK / f"{domain}.csv").open(encoding="utf-8", newline="") as file:
        rows = [*csv.DictReader(file), *({**SHARED, "year": "2001", "language": "en", **row} for row in more)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A project's home with the demo pack and a few hostile items, indexed by the word encoder."""
    folder = tmp_path_factory.mktemp("page")
    settings = Settings(home=folder / "home")
    more = {"films": [{"id": "hf", "title": "<b>Quxology</b>: the film"}], "books": HOSTILE}
    with (
        Store.open(settings.store_url) as store,
        Index(settings.index_dir, WordEncoder(), load_template("item"), IndexSettings()) as index,
    ):
        for domain, rows in more.items():
            ingest(store, IngestRequest(catalogue(folder, domain, rows), domain))
            index.build(store, domain)
    return settings.home


@pytest.fixture(scope="module")
def url(home):
    with running(home) as service:
        yield service.url


@pytest.fixture(scope="module")
def browser():
    names = ("chromium", "chromium-headless-shell", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.fail(f"the page needs one of {', '.join(names)}: apt-get install chromium-headless-shell")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, url):
    """Opens the page in a browser of its own; whatever it complains about fails the test at its end."""
    contexts, complaints = [], []

    def visited(at=url, *, expected=(), opens=True, **options):
        options = {"viewport": {"width": 1280, "height": 900}, "locale": "en-GB", "reduced_motion": "reduce", **options}
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))

        def heard(message):
            if message.type in {"error", "warning"} and not any(part in message.text for part in expected):
                complaints.append(message.text)

        page.on("console", heard)
        page.goto(at)
        if opens:
            expect(page.locator("#source option").first).to_be_attached()
        return page

    yield visited
    for context in contexts:
        context.close()
    assert not complaints


def like(page, typed, title):
    """Type, wait for the title, take it with the keys."""
    page.locator("#liked").fill(typed)
    option = page.locator("#found li", has_text=title).first
    expect(option).to_be_visible()
    place = [one.strip() for one in page.locator("#found bdi").all_inner_texts()].index(title)
    for _ in range(place + 1):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#chips")).to_contain_text(title)


def finished(page):
    """Wait until an answer is complete; its titles."""
    expect(page.locator("#results")).to_have_attribute("aria-busy", "false")
    return page.locator(".card h3 > bdi").all_inner_texts()


def ask(page):
    page.get_by_role("button", name="Recommend", exact=True).click()
    expect(page.locator(".card").first).to_be_visible()
    return finished(page)


def send(page, text):
    before = page.locator("#thread .mine").count()
    page.locator("#said").fill(text)
    page.keyboard.press("Enter")
    expect(page.locator("#thread .mine")).to_have_count(before + 1)


def healthy(page):
    """No serious or critical finding of axe, and nothing wider than the window."""
    found = Axe().run(page).response["violations"]
    assert not [
        (one["id"], [n["html"] for n in one["nodes"]]) for one in found if one["impact"] in {"serious", "critical"}
    ]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_films_in_explained_books_out_and_thumbs_change_the_next_round(visit):
    """Cards say what, by whom, when, why and from what; what is judged steers the next round and does not return."""
    page = visit()
    like(page, "blade", "Blade Runner")
    like(page, "alien", "Alien")
    first = ask(page)
    assert len(first) == 5
    card = page.locator(".card").first
    expect(card.locator(".made")).to_have_text(re.compile(r".+ · \d{4}"))
    expect(card.locator(".reason > p").first).to_have_text(re.compile("Blade Runner|Alien"))
    expect(card.locator(".facts")).to_contain_text(re.compile(r"(Blade Runner|Alien) \d+%"))
    expect(page.locator("#degraded")).to_contain_text("the LLM server does not run")
    card.locator("summary").click()
    picture = card.locator(".picture img")
    expect(picture).to_be_visible()
    assert picture.evaluate("async image => { await image.decode(); return image.naturalWidth }") > 100
    for place, name in enumerate(("I like this", "Not for me", "I know it already")):
        with page.expect_response(re.compile("/v1/feedback")) as told:
            page.locator(".card").nth(place).get_by_role("button", name=name).click()
        assert told.value.ok
    page.get_by_role("button", name="Next round").click()
    expect(page.locator(".card h3 > bdi").first).not_to_have_text(first[0])
    second = finished(page)
    assert len(second) == 5
    assert not set(first[:3]) & set(second)
    page.get_by_label("Why not …").fill("Neuromancer" if "Neuromancer" not in second else "Solaris")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.locator("#why-not-answer")).to_contain_text(re.compile("Neuromancer|Solaris"))


def test_a_whole_conversation_survives_a_reload(visit):
    """Write freely, correct, ask why, judge, reload and go on: the same dialogue, known by an id in this tab only."""
    page = visit()
    page.get_by_role("radio", name="Write freely").check()
    send(page, "I loved Blade Runner and Alien. What should I read?")
    expect(page.locator(".card").first).to_be_visible()
    first = finished(page)
    send(page, "nothing after 1970")
    expect(page.locator("#thread")).to_contain_text("1970")
    second = finished(page)
    years = [int(text[-4:]) for text in page.locator(".card .made").all_inner_texts()]
    assert second != first
    assert max(years) <= 1970
    send(page, "why the second?")
    expect(page.locator("#thread .theirs").last).to_contain_text("2.")
    finished(page)
    page.locator(".card").nth(1).get_by_role("button", name="I know it already").click()
    page.get_by_role("button", name="Next round").click()
    expect(page.locator("#thread .mine").last).to_contain_text("number 2")
    expect(page.locator(".card h3 > bdi").nth(1)).not_to_have_text(second[1])
    third = finished(page)
    id_ = page.evaluate("sessionStorage.getItem('xdrec.dialogue')")
    assert id_ not in page.url
    page.reload()
    expect(page.locator("#thread .mine")).to_have_count(4)
    expect(page.locator(".card h3 > bdi")).to_have_text(third)
    expect(page.locator(".card .reason").first).not_to_contain_text("No reason")
    send(page, "something else")
    expect(page.locator(".card h3 > bdi").first).not_to_have_text(third[0])
    assert page.evaluate("sessionStorage.getItem('xdrec.dialogue')") == id_


def test_everything_works_by_keyboard_alone(visit):
    """From the skip link on, each control is reached by Tab, is seen to have the focus, and none holds it."""
    page = visit()

    def tab_to(selector, most=60):
        for _ in range(most):
            page.keyboard.press("Tab")
            if page.evaluate("s => document.activeElement.matches(s)", selector):
                focus = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                assert focus == "solid", selector
                return
        raise AssertionError(f"Tab does not come to {selector}")

    tab_to(".skip", 1)
    expect(page.locator(".skip")).to_be_in_viewport()
    tab_to("#liked")
    page.keyboard.type("alien")
    expect(page.locator("#found li").first).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#found")).to_be_hidden()
    page.keyboard.type(" ")
    page.keyboard.press("Backspace")
    expect(page.locator("#found li").first).to_be_visible()
    page.keyboard.press("ArrowDown")
    assert page.locator("#liked").get_attribute("aria-activedescendant") == "found-0"
    page.keyboard.press("Enter")
    expect(page.locator("#chips li")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page.locator(".card")).to_have_count(5)
    finished(page)
    tab_to(".path summary")
    page.keyboard.press("Enter")
    expect(page.locator(".picture img")).to_be_visible()
    tab_to("[data-kind=down]")
    page.keyboard.press("Space")
    expect(page.locator("[data-kind=down]").first).to_have_attribute("aria-pressed", "true")
    tab_to("#next")
    tab_to("#missing")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement === document.body || document.activeElement.matches('.skip')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [{"width": 1280, "height": 900}, {"width": 360, "height": 740}])
def test_it_is_accessible_on_every_screen(visit, scheme, size):
    """Empty, searching, with results and in conversation; on a phone nothing is cut off and targets are big enough."""
    page = visit(viewport=size, color_scheme=scheme)
    healthy(page)
    page.locator("#liked").fill("a")
    expect(page.locator("#found li").first).to_be_visible()
    healthy(page)
    page.locator("#liked").fill("")
    like(page, "alien", "Alien")
    ask(page)
    page.locator(".card summary").first.click()
    expect(page.locator(".picture img").first).to_be_visible()
    page.locator("[data-kind=up]").first.click()
    healthy(page)
    page.get_by_role("radio", name="Write freely").check()
    send(page, "I loved Ailen")
    expect(page.locator("#thread .theirs").first).to_be_visible()
    finished(page)
    healthy(page)
    small = "[...document.querySelectorAll('button,select,input,summary,.modes label')].filter(e => e.checkVisibility()"
    small += " && e.getBoundingClientRect().height < 43.5).map(e => e.outerHTML)"
    assert page.evaluate(small) == []


def test_another_direction_is_another_question(visit):
    """Swapped, titles of the other domain are found, and what was liked and shown before is gone."""
    page = visit()
    like(page, "alien", "Alien")
    ask(page)
    page.get_by_role("button", name="Swap the direction").click()
    expect(page.locator("#chips li")).to_have_count(0)
    expect(page.locator(".card")).to_have_count(0)
    like(page, "neuro", "Neuromancer")
    ask(page)
    films = {row["title"] for row in csv.DictReader((PACK / "films.csv").read_text(encoding="utf-8").splitlines())}
    assert set(page.locator(".card h3 > bdi").all_inner_texts()) <= films | {"<b>Quxology</b>: the film"}


def test_light_and_dark_can_be_chosen_and_are_remembered(visit):
    """The system's choice holds until there is one of one's own, and that holds after a reload."""
    page = visit(color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.get_by_role("button", name="Light", exact=True).click()
    light = page.evaluate(ground)
    assert light != dark
    page.reload()
    assert page.evaluate(ground) == light


def test_chinese_is_spoken_throughout(visit):
    """Labels, titles known in Chinese, reasons and the page's language; the choice is remembered."""
    page = visit()
    like(page, "alien", "Alien")
    ask(page)
    page.get_by_role("button", name="中文").click()
    expect(page.locator("html")).to_have_attribute("lang", "zh")
    expect(page.locator("#chips")).to_contain_text("异形")
    expect(page.locator(".card .reason p").last).to_contain_text(re.compile("[\u4e00-\u9fff]"))
    expect(page.locator(".card .reason [lang=zh]")).to_have_count(5)
    healthy(page)
    page.reload()
    expect(page.locator("h1")).to_contain_text("接下来")
    page.get_by_role("radio", name="自由描述").check()
    send(page, "我喜欢《银翼杀手》,有什么书推荐?")
    expect(page.locator(".card")).to_have_count(5)
    finished(page)
    expect(page.locator("#thread .theirs").first).to_contain_text(re.compile("[\u4e00-\u9fff]"))
    english = page.evaluate("Object.keys((await import('/words.en.js')).default)".join(["(async () => ", ")()"]))
    chinese = page.evaluate("Object.keys((await import('/words.zh.js')).default)".join(["(async () => ", ")()"]))
    assert sorted(english) == sorted(chinese)


def test_hostile_titles_stay_text(visit):
    """Markup is shown as it is written, hidden direction marks are gone, long titles fit, only web links are links."""
    page = visit(viewport={"width": 360, "height": 740})
    assert "unsafe" not in page.request.get(page.url).headers["content-security-policy"]
    page.evaluate(
        "window.violations = []; addEventListener('securitypolicyviolation', e => violations.push(e.violatedDirective))"
    )
    page.locator("#liked").fill("quxology")
    page.locator("#found li").first.click()
    expect(page.locator("#chips bdi")).to_have_text("<b>Quxology</b>: the film")
    titles = ask(page)
    assert IMAGE in titles
    assert "Turned gnorw way" in titles
    assert any(title.startswith("EndlessEndless") for title in titles)
    healthy(page)
    assert page.locator("#cards h3 img, #cards script, #chips b").count() == 0
    assert page.title() == "XDRec – what next?"
    links = page.locator("#cards a")
    assert sorted(links.evaluate_all("all => all.map(a => new URL(a.href).protocol)")) == ["https:", "https:"]
    assert links.evaluate_all("all => all.every(a => a.rel === 'noopener noreferrer nofollow')")
    covers = page.locator("#cards .cover").evaluate_all("all => all.map(one => one.src)")
    assert covers == [PIXEL]
    assert page.evaluate("violations") == []


def test_it_says_when_the_service_is_away_busy_or_stopped(visit):
    """Each state has words and a way on; after a 429 it asks again when it was told to."""
    page = visit(expected=["Failed to load resource"])
    like(page, "alien", "Alien")
    stream = "**/v1/recommend/stream"
    page.route(stream, lambda route: route.abort())
    page.get_by_role("button", name="Recommend", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    page.unroute(stream)
    page.route(stream, lambda route: None)  # never answered
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#status")).to_have_text("Looking …")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#status")).to_have_text("Stopped.")
    page.unroute(stream)
    answers = iter([{"status": 429, "headers": {"retry-after": "1"}, "json": {"detail": "busy"}}])

    def busy_once(route):
        answer = next(answers, None)
        return route.continue_() if answer is None else route.fulfill(**answer)

    page.route(stream, busy_once)
    page.get_by_role("button", name="Recommend", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("1 s")
    expect(page.locator(".card")).to_have_count(5)
    finished(page)


def test_a_key_is_asked_for_and_kept_in_this_tab_only(visit, home):
    """Where the service wants a key, the page asks for one, uses it, and puts it in no address and no lasting place."""
    with Keys.open(Settings(home=home).store_url) as keys:
        _, secret = keys.create("browser", user="somebody")
    with running(home, XDREC_SERVICE__KEYS="required") as guarded:
        page = visit(guarded.url, expected=["401"], opens=False)
        expect(page.get_by_role("alert")).to_contain_text("needs a key")
        expect(page.locator("#key")).to_be_focused()
        page.keyboard.type(secret)
        page.keyboard.press("Enter")
        like(page, "alien", "Alien")
        ask(page)
        page.locator(".card summary").first.click()
        expect(page.locator(".picture img")).to_be_visible()
        kept = page.evaluate("JSON.stringify({...localStorage}) + document.cookie + location.href")
        assert secret not in kept


def test_stopping_and_asking_anew_stop_the_models_work(visit, home, tmp_path):
    """The Stop button, another question and another turn each close the connection, and the model is let go at once."""
    llm_settings = {"XDREC_LLM__MODEL": "fake", "XDREC_LLM__ATTEMPTS": "1", "XDREC_LLM__CACHE": "off"}
    llm_settings["XDREC_RERANK__STRATEGY"] = "identity"
    with SocketLLM(FakeLLM()) as llm, running(home, XDREC_LLM__BASE_URL=llm.base_url, **llm_settings) as service:
        page = visit(service.url)
        like(page, "alien", "Alien")
        llm.hold()
        page.get_by_role("button", name="Recommend", exact=True).click()
        llm.wait(begun=5)
        expect(page.locator(".card")).to_have_count(5)
        page.get_by_role("button", name="Stop").click()
        llm.wait(gone=5)
        expect(page.locator("#status")).to_have_text("Stopped.")
        expect(page.locator(".card .reason").first).to_contain_text("No reason was written")
        page.get_by_role("button", name="Recommend", exact=True).click()
        llm.wait(begun=10)
        page.get_by_role("button", name="Recommend", exact=True).click()
        llm.wait(begun=15, gone=10)
        page.get_by_role("radio", name="Write freely").check()
        send(page, "I loved Blade Runner. What should I read?")
        llm.wait(begun=20, gone=15)
        send(page, "nothing after 1970")
        llm.wait(begun=25, gone=20)
        llm.release()
        finished(page)
        expect(page.locator("#thread .mine")).to_have_count(2)
        expect(page.locator("#thread")).to_contain_text("Blade Runner")
        assert max(int(text[-4:]) for text in page.locator(".card .made").all_inner_texts()) <= 1970
