"""What shops, finance, health and education need beyond a catalogue: promises of their packs."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from demo_packs import (
    CONDITIONS_WELLNESS,
    COURSES_PROJECTS,
    EXAMPLES,
    FUNDS_INSURANCE,
    KITCHEN_GROCERIES,
    PACKS,
    Pack,
    parts,
    rating,
)
from word_encoder import WordEncoder

from retrieval.index import Index
from retrieval.ingest import IngestRequest, ingest
from retrieval.ranking import Retriever
from retrieval.settings import RetrieverSettings
from retrieval.store import Store
from retrieval.templates import load_template
from retrieval.types import Filter, Item
from xdrec_agent.app import make_recommender
from xdrec_agent.recommend import Recommender, apply_exclusions, build_query
from xdrec_agent.settings import Settings

NEW = [pack for pack in PACKS if pack.name != "films-books"]
ALL = 1000


class Opened:
    """A pack in a store with an index, used with its settings and without a language model."""

    def __init__(self, pack: Pack, folder: Path) -> None:
        self.pack = pack
        self.settings = pack.demo.settings(Settings(home=folder), pack.folder)
        self.store = Store.open(f"sqlite:///{folder / 'store.sqlite'}")
        template = load_template(self.settings.index.template)
        self.index = Index(folder / "index", WordEncoder(), template, self.settings.index)
        for domain, name in [*pack.demo.catalogues.items(), *pack.demo.interactions.items()]:
            (report,) = ingest(self.store, IngestRequest(pack.folder / name, domain))
            assert report.rejected == 0
        for domain in pack.domains:
            self.index.build(self.store, domain)

    def close(self) -> None:
        self.index.close()
        self.store.close()

    @property
    def recommender(self) -> Recommender:
        retriever = Retriever(self.store, self.index, RetrieverSettings())
        return make_recommender(self.settings, retriever, None, "no model in this test")

    def answer(self, *, explain: bool = False, k: int = ALL, **ask: object):
        source, target = self.pack.domains
        query = build_query(self.store, **({"sources": [source], "target": target, "k": k} | ask))
        return asyncio.run(self.recommender.recommend(query, explain=explain))


def opened(pack: Pack, scope: pytest.TempPathFactory):
    place = Opened(pack, scope.mktemp(pack.name))
    yield place
    place.close()


@pytest.fixture(scope="module")
def health(tmp_path_factory):
    yield from opened(CONDITIONS_WELLNESS, tmp_path_factory)


@pytest.fixture(scope="module")
def education(tmp_path_factory):
    yield from opened(COURSES_PROJECTS, tmp_path_factory)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    yield from opened(KITCHEN_GROCERIES, tmp_path_factory)


@pytest.fixture(scope="module")
def finance(tmp_path_factory):
    yield from opened(FUNDS_INSURANCE, tmp_path_factory)


def forbidden(pack: Pack, has: set[str]) -> set[str]:
    return {row["id"] for row in pack.rows("wellness") if has & set(parts(row, "contraindicated_for"))}


def ids(answer) -> set[str]:
    return {entry.item.id for entry in answer.items}


def test_contraindications_are_conditions() -> None:
    """A misspelt id would exclude nothing: each is a condition, none is also what the activity is suggested for."""
    pack = CONDITIONS_WELLNESS
    known = {row["id"] for row in pack.rows("conditions")}
    helps = {(subject, object_) for subject, _, object_ in pack.relations}
    for row in pack.rows("wellness"):
        named = parts(row, "contraindicated_for")
        assert set(named) <= known, row["id"]
        assert not helps & {(row["id"], condition) for condition in named}, row["id"]
    subjects = {s for s, _, _ in pack.relations}
    assert subjects <= {row["id"] for row in pack.rows("wellness")}
    assert {o for _, _, o in pack.relations} <= known


def test_no_condition_ever_gets_what_it_excludes(health: Opened) -> None:
    """Of all activities asked for at once, exactly the contraindicated ones are missing, for every single condition."""
    everything = {row["id"] for row in health.pack.rows("wellness")}
    for row in health.pack.rows("conditions"):
        answer = health.answer(likes=[row["title"]])
        assert ids(answer) == everything - forbidden(health.pack, {row["id"]}), row["id"]


def test_no_member_ever_gets_what_their_conditions_exclude(health: Opened) -> None:
    """What the store knows of them counts, also where the question names something else or is words alone."""
    for user, rows in health.pack.by_user.items():
        has = {row["item"] for row in rows if row["domain"] == "conditions"}
        gone = forbidden(health.pack, has)
        assert not gone & {row["item"] for row in rows}
        for ask in ({}, {"likes": ["Find More Calm"]}, {"about": "sauna, hot yoga, heat, cold and hard breathing"}):
            answer = health.answer(user=user, **ask)
            assert not gone & ids(answer), user
            assert answer.items


def test_a_disliked_condition_excludes_as_well(health: Opened) -> None:
    """Whether somebody likes a condition is not the question; they have it."""
    answer = health.answer(likes=["Find More Calm"], dislikes=["Pregnancy"])
    assert "finnish-sauna" not in ids(answer)
    assert "finnish-sauna" in ids(health.answer(likes=["Find More Calm"]))


def test_a_recommender_applies_its_rules_to_queries_that_others_made(health: Opened) -> None:
    """A dialogue or a batch that builds its own query cannot forget them."""
    query = build_query(
        health.store, sources=["conditions"], target="wellness", likes=["Glaucoma", "Do a First Push-Up"], k=ALL
    )
    assert query.filter == Filter()
    answer = asyncio.run(health.recommender.recommend(query, explain=False))
    assert not forbidden(health.pack, {"glaucoma"}) & ids(answer)


def test_a_query_with_rules_carries_them(health: Opened) -> None:
    """What is kept of a question says why something was left out; a second application changes nothing."""
    filter_ = Filter(not_attributes={"contraindicated_for": ("epilepsy",), "effort": ("hard",)})
    query = build_query(health.store, sources=["conditions"], target="wellness", likes=["Glaucoma"], filter_=filter_)
    query = apply_exclusions(query, health.settings.exclusions, health.store)
    barred = {"contraindicated_for": ("epilepsy", "glaucoma"), "effort": ("hard",)}
    assert query.filter == Filter(not_attributes=barred)
    assert health.recommender.retriever.rank(query).ids


@pytest.mark.parametrize("explain", [True, False])
@pytest.mark.parametrize("name", ["health", "finance"])
def test_no_answer_lacks_the_disclaimer(name: str, request: pytest.FixtureRequest, explain: bool) -> None:
    """Every answer bears it in both directions, and so does every reason."""
    place: Opened = request.getfixturevalue(name)
    for source, target in (place.pack.domains, place.pack.domains[::-1]):
        answer = place.answer(sources=[source], target=target, user=place.pack.user, k=3, explain=explain)
        said = place.pack.demo.disclaimers[target]
        assert said in answer.notes
        assert answer.items
        if explain:
            assert all(entry.explanation.text.endswith(said) for entry in answer.items)


def test_disclaimers_say_what_they_must() -> None:
    """Finance: not advice. Health: no diagnosis. For both domains, in the README as well."""
    for pack, words in ((FUNDS_INSURANCE, "not advice"), (CONDITIONS_WELLNESS, "no diagnosis")):
        assert set(pack.demo.disclaimers) == set(pack.domains)
        assert all(words in text for text in pack.demo.disclaimers.values())
        assert words in (pack.folder / "README.md").read_text(encoding="utf-8")


def test_requirements_are_courses_below_the_level() -> None:
    """What is required is another course, not above what requires it; the relations say the same."""
    pack = COURSES_PROJECTS
    courses = {row["id"]: row for row in pack.rows("courses")}
    said = {(row["id"], "requires", needed) for row in pack.all_items.values() for needed in parts(row, "requires")}
    assert said == set(pack.relations)
    for subject, _, needed in said:
        assert int(courses[needed]["level"]) <= int(pack.all_items[subject]["level"]), (subject, needed)
    assert {row["level"] for row in pack.all_items.values()} == {"1", "2", "3"}
    assert [row["id"] for row in pack.rows("projects") if not row["requires"]] == []
    assert [row["id"] for row in pack.rows("courses") if row["level"] == "3" and not row["requires"]] == []


def test_nobody_is_given_a_project_above_their_courses(education: Opened) -> None:
    """For every learner and for titles alone: what is recommended requires nothing that they have not had."""
    pack = education.pack
    asks = [
        ({"user": user}, {r["item"] for r in rows if r["domain"] == "courses"}) for user, rows in pack.by_user.items()
    ]
    asks += [({"likes": [row["title"]]}, {row["id"]}) for row in pack.rows("courses")]
    for ask, has in asks:
        known = {row["item"] for row in pack.by_user.get(ask.get("user"), [])}
        fits = {row["id"] for row in pack.rows("projects") if set(parts(row, "requires")) <= has}
        assert ids(education.answer(**ask)) == fits - known


def test_learners_met_the_requirements_in_time() -> None:
    """In a history nothing comes before what it requires."""
    for user, rows in COURSES_PROJECTS.by_user.items():
        seen: set[str] = set()
        for row in rows:
            assert set(parts(COURSES_PROJECTS.all_items[row["item"]], "requires")) <= seen, (user, row["item"])
            seen.add(row["item"])


def test_an_allergen_can_be_left_out(shop: Opened) -> None:
    """With --not-where nothing that contains it is recommended, and everything else still can be."""
    answer = shop.answer(likes=["Pasta Machine"], filter_=Filter(not_attributes={"allergens": ("nuts", "milk")}))
    rows = shop.pack.rows("groceries")
    assert ids(answer) == {row["id"] for row in rows if not {"nuts", "milk"} & set(parts(row, "allergens"))}


def test_groceries_are_what_they_contain() -> None:
    """A vegan product has no allergen of animals; vegetarian ones have none of fish; prices are numbers."""
    animals = {"milk", "egg", "fish", "crustaceans", "molluscs"}
    for row in KITCHEN_GROCERIES.rows("groceries"):
        has = set(parts(row, "allergens"))
        assert row["diet"] in {"vegan", "vegetarian", "fish", "seafood", "meat"}
        assert row["diet"] != "vegan" or not has & animals, row["id"]
        assert row["diet"] != "vegetarian" or not has & (animals - {"milk", "egg"}), row["id"]
    assert [r["id"] for r in KITCHEN_GROCERIES.all_items.values() if not re.fullmatch(r"\d+\.\d\d", r["price"])] == []


def test_products_have_only_the_promised_figures() -> None:
    """Risk class 1 to 7, horizon, cost, term, premium and excess, each in a range that can be."""
    for row in FUNDS_INSURANCE.rows("funds"):
        assert int(row["risk_class"]) in range(1, 8)
        assert int(row["horizon_years"]) in range(1, 31)
        assert 0 < float(row["cost_percent"]) <= 2
    for row in FUNDS_INSURANCE.rows("insurance"):
        assert int(row["term_years"]) in range(1, 41)
        assert int(row["premium_month"]) >= 0
        assert int(row["excess"]) >= 0


def test_complements_are_a_fund_and_a_policy() -> None:
    """Each relation leads from one domain to the other."""
    funds, policies = ({row["id"] for row in FUNDS_INSURANCE.rows(domain)} for domain in FUNDS_INSURANCE.domains)
    assert [(s, o) for s, _, o in FUNDS_INSURANCE.relations if s not in funds or o not in policies] == []


def test_the_encoder_does_not_read_the_provider() -> None:
    """Two products of one provider are not alike for that."""
    pack = FUNDS_INSURANCE
    template = load_template(str(pack.folder / "item.jinja"))
    for domain in pack.domains:
        row = pack.rows(domain)[0]
        assert row["provider"] not in template.text(item=_item(domain, row))


def _item(domain: str, row: dict[str, str]) -> Item:
    return Item(
        domain=domain,
        id=row["id"],
        title=row["title"],
        attributes={"provider": row["provider"]},
        categories=tuple(parts(row, "categories")),
        description=row["description"],
    )


@pytest.mark.parametrize("pack", NEW, ids=lambda pack: pack.name)
def test_the_readme_shows_the_settings_of_the_demo(pack: Pack) -> None:
    """Who copies them into xdrec.toml gets what `xdrec demo` uses."""
    readme = (pack.folder / "README.md").read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"```toml\n(.*?)```", readme, re.DOTALL))
    shown = Settings.model_validate(tomllib.loads(blocks))
    used = pack.demo.settings(Settings(), Path("examples") / pack.name)
    for section in ("index", "explain", "exclusions"):
        assert getattr(shown, section) == getattr(used, section), section


@pytest.mark.parametrize("pack", NEW, ids=lambda pack: pack.name)
def test_the_script_makes_the_same_ratings_again(pack: Pack, tmp_path: Path) -> None:
    """The ratings follow from tastes.csv, and nobody has touched them by hand."""
    script = EXAMPLES.parent / "scripts" / "make_pack_ratings.py"
    folder = tmp_path / pack.name
    folder.mkdir()
    for file in pack.folder.iterdir():
        if file.name not in pack.demo.interactions.values():
            (folder / file.name).write_bytes(file.read_bytes())
    subprocess.run([sys.executable, str(script), str(folder)], check=True)
    for name in pack.demo.interactions.values():
        assert (folder / name).read_bytes() == (pack.folder / name).read_bytes()


def test_members_have_their_conditions_and_rate_them_by_weight() -> None:
    """A condition is not disliked: what is rated is how much it matters."""
    rows = [row for row in CONDITIONS_WELLNESS.ratings if row["domain"] == "conditions"]
    assert {rating(row) for row in rows} <= {3, 4, 5}


def test_nobody_is_told_that_they_like_a_condition(health: Opened) -> None:
    """A reason speaks of what was named; the model's template does, too."""
    answer = health.answer(user="ines", k=5, explain=True)
    texts = [entry.explanation.text for entry in answer.items]
    assert all("you named" in text.casefold() for text in texts)
    assert not [text for text in texts if "like" in text.casefold().split()]
    assert "like" not in (health.pack.folder / "explain.jinja").read_text(encoding="utf-8").split()
