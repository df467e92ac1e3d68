"""What every store promises, whatever its database: inherited by the tests of SQLite and of Postgres."""

import pytest

from retrieval.errors import StoreError, UsageError
from retrieval.store import DomainSummary, Store
from retrieval.types import Interaction, Item


def film(id_, title="Alien", **more):
    return Item(domain="films", id=id_, title=title, **more)


def rating(user, item, value=5.0, **more):
    return Interaction(user=user, domain="films", item=item, value=value, **more)


def event(user, item, kind, value, timestamp=None):
    return Interaction(user=user, domain="films", item=item, kind=kind, value=value, timestamp=timestamp)


class StoreContract:
    """A subclass provides the fixture `store_url` of an empty database."""

    @pytest.fixture
    def store(self, store_url):
        with Store.open(store_url) as store:
            yield store

    def test_items_come_back_as_they_went_in(self, store):
        """Every field of an item survives the store, in any script."""
        item = film(
            "f1",
            "Ночной дозор 三体",
            aliases=("Night Watch", "夜巡"),
            creators=("Т. Бекмамбетов",),
            year=2004,
            language="ru",
            categories=("Fantasy",),
            series="Watch",
            volume=1.5,
            edition_of="f0",
            description="'quoted' \\ 100% \u2028 line",
            links=("https://example.org/?a=1&b=2",),
            media=("poster.png",),
            available=False,
            attributes={"themes": ("night", "war"), "length": 114, "score": 7.0, "seen": True, "note": "1"},
        )
        store.upsert_items([item], "run")
        assert store.items("films", ["f1"]) == {"f1": item}
        assert type(store.items("films", ["f1"])["f1"].attributes["score"]) is float

    def test_counts_what_happened_to_items(self, store):
        """New, changed and equal items of a later run are told apart, and the change is kept."""
        store.upsert_items([film("1"), film("2")], "first")
        report = store.upsert_items([film("1"), film("2", "Aliens"), film("3")], "second")
        assert (report.added, report.updated, report.unchanged, report.conflicts) == (1, 1, 1, ())
        assert store.items("films", ["2"])["2"].title == "Aliens"

    @pytest.mark.parametrize("split", [False, True])
    def test_first_row_of_a_run_wins(self, store, split):
        """Other content for an id of the same run is a conflict and is not written, in one batch or over two."""
        first, second = film("1", "Alien"), film("1", "Heat")
        if split:
            store.upsert_items([first], "run")
            report = store.upsert_items([second], "run")
        else:
            report = store.upsert_items([first, second], "run")
        assert [index for index, _ in report.conflicts] == [0 if split else 1]
        assert "'1'" in report.conflicts[0][1]
        assert store.items("films", ["1"])["1"].title == "Alien"

    def test_unchanged_item_guards_its_id_in_the_new_run(self, store):
        """A row equal to the stored one counts as written in this run: a later, different row is a conflict."""
        store.upsert_items([film("1")], "first")
        store.upsert_items([film("1")], "second")
        assert len(store.upsert_items([film("1", "Heat")], "second").conflicts) == 1

    def test_equal_row_of_the_same_run_is_repeated(self, store):
        """An identical row of the same run is neither an error nor a change."""
        report = store.upsert_items([film("1"), film("1")], "run")
        assert (report.added, report.repeated, report.conflicts) == (1, 1, ())

    def test_items_are_given_in_the_order_asked_for(self, store):
        """`items` keeps the order of the ids, drops unknown ones and repeats none."""
        store.upsert_items([film(str(n)) for n in range(5)], "run")
        assert list(store.items("films", ["3", "nope", "1", "3"])) == ["3", "1"]
        assert store.items("books", ["1"]) == {}

    def test_many_ids_in_one_call(self, store):
        """More ids than a statement can hold variables are read, written and deleted."""
        ids = [f"{n:05}" for n in range(2_500)]
        store.upsert_items([film(id_) for id_ in ids], "run")
        assert len(store.items("films", ids)) == len(ids)
        assert store.delete_items("films", ids[:2_000]) == 2_000
        assert [i.id for i in store.iter_items("films")] == ids[2_000:]

    @pytest.mark.parametrize("batch", [1, 2, 3, 100])
    def test_iterates_all_items_once(self, store, batch):
        """Every item of the domain comes exactly once, in byte order, whatever the page size."""
        ids = ["a", "B", "é", "三", "10", "9", "a "]
        store.upsert_items([*map(film, ids), Item(domain="books", id="b", title="It")], "run")
        assert [i.id for i in store.iter_items("films", batch)] == sorted(ids)
        assert dict(store.item_hashes("films")) == {id_: film(id_).content_hash() for id_ in ids}

    def test_store_can_be_changed_while_iterating(self, store):
        """A reader that has not finished does not block a writer."""
        store.upsert_items([film(str(n)) for n in range(4)], "run")
        seen = []
        for item in store.iter_items("films", 2):
            seen.append(item.id)
            store.delete_items("films", [item.id])
        assert seen == ["0", "1", "2", "3"]
        assert store.domains() == ()

    def test_generation_grows_with_changes_only(self, store):
        """Added, changed and deleted items give a new generation; equal items and other domains do not."""
        numbers = [store.generation("films")]
        for items in ([film("1")], [film("1")], [film("1", "Heat")], [Item(domain="books", id="1", title="It")]):
            store.upsert_items(items, f"run {len(numbers)}")
            numbers.append(store.generation("films"))
        store.delete_items("films", ["nope"])
        numbers.append(store.generation("films"))
        store.delete_items("films", ["1"])
        numbers.append(store.generation("films"))
        assert numbers == [0, 1, 1, 2, 2, 2, 3]

    def test_generation_outlives_the_domain(self, store):
        """A domain whose items are all deleted and comes back does not repeat a generation that a reader has seen."""
        store.upsert_items([film("1")], "a")
        store.delete_items("films", ["1"])
        store.upsert_items([film("1")], "b")
        assert store.generation("films") == 3

    def test_titles_and_aliases_find_the_item(self, store):
        """The key of a title or alias gives the ids; after a change only the new ones do."""
        store.upsert_items(
            [film("1", "The Godfather", aliases=("Mario Puzo's The Godfather",)), film("2", "Heat")], "a"
        )
        assert store.item_ids_by_title("films", "godfather") == ("1",)
        assert store.item_ids_by_title("films", "mario puzos the godfather") == ("1",)
        store.upsert_items([film("1", "Ran")], "b")
        assert sorted(store.title_keys("films")) == [("heat", "2"), ("ran", "1")]

    def test_unknown_item_is_refused(self, store):
        """An interaction with an item that no catalogue has is refused with the way out; the others are written."""
        store.upsert_items([film("1")], "run")
        report = store.upsert_interactions([rating("ann", "x"), rating("ann", "1")], "run")
        assert report.unknown == ((0, "item 'x' is not in catalogue 'films'; ingest its items first"),)
        assert (report.added, len(store.export_user("ann"))) == (1, 1)

    def test_first_rating_of_a_run_wins(self, store):
        """Another value for the same user, item and kind is a conflict in the same run and a change in the next."""
        store.upsert_items([film("1")], "run")
        report = store.upsert_interactions([rating("ann", "1", 5), rating("ann", "1", 2), rating("ann", "1", 5)], "r1")
        assert (report.added, report.repeated, [i for i, _ in report.conflicts]) == (1, 1, [1])
        assert store.export_user("ann")[0].value == 5
        assert store.upsert_interactions([rating("ann", "1", 2)], "r2").updated == 1
        assert store.export_user("ann")[0].value == 2

    @pytest.mark.parametrize("split", [False, True])
    def test_repeated_events_become_one(self, store, split):
        """Of implicit events of one kind the strongest value and the latest time are kept, in any order."""
        store.upsert_items([film("1")], "run")
        events = [event("ann", "1", "play", v, t) for v, t in ((0.5, 30), (0.9, 10), (0.5, None))]
        for batch in [[e] for e in events] if split else [events]:
            store.upsert_interactions(batch, "run")
        assert store.export_user("ann") == [event("ann", "1", "play", 0.9, 30)]

    def test_history_is_oldest_first(self, store):
        """Entries without a time come first, the others by time."""
        store.upsert_items([film(str(n)) for n in range(4)], "run")
        times = {"0": 30, "1": None, "2": 10, "3": 20}
        store.upsert_interactions([rating("ann", i, timestamp=t) for i, t in times.items()], "run")
        history = store.history("ann")
        assert history.user == "ann"
        assert [e.item.id for e in history.entries] == ["1", "2", "3", "0"]

    def test_history_has_one_entry_for_each_item(self, store):
        """A rating wins over implicit events, else the strongest counts; the time is the latest of all."""
        store.upsert_items([film("1"), film("2")], "run")
        uses = [
            event("ann", "1", "finish", 1.0, 300),
            rating("ann", "1", 2.0, timestamp=100),
            event("ann", "2", "view", 0.25, 50),
            event("ann", "2", "purchase", 0.75, 20),
        ]
        store.upsert_interactions(uses, "run")
        entries = [(e.item.id, e.preference, e.timestamp) for e in store.history("ann").entries]
        assert entries == [("2", 0.75, 50), ("1", -0.5, 300)]

    def test_history_can_be_limited_to_domains(self, store):
        """Only the named domains are given; a user known elsewhere has an empty history, not an error."""
        store.upsert_items([film("1"), Item(domain="books", id="1", title="It")], "run")
        book = Interaction(user="ann", domain="books", item="1", value=4)
        store.upsert_interactions([rating("ann", "1"), book], "run")
        assert [e.item.domain for e in store.history("ann", ["books"]).entries] == ["books"]
        assert store.history("ann", ["games"]).entries == ()

    def test_history_of_a_stranger(self, store):
        """A user without any interaction is a usage error that names them."""
        with pytest.raises(UsageError, match="'bob'") as caught:
            store.history("bob")
        assert caught.value.hint

    def test_summaries_count_domains(self, store):
        """Items, interactions and distinct users of each domain are counted."""
        store.upsert_items([film("1"), film("2"), Item(domain="books", id="b", title="It")], "run")
        store.upsert_interactions([rating("ann", "1"), rating("ann", "2"), event("bob", "2", "play", 1)], "run")
        books, films = store.domains()
        assert books == DomainSummary(domain="books", items=1, interactions=0, users=0, generation=1)
        assert films == DomainSummary(domain="films", items=2, interactions=3, users=2, generation=1)

    def test_users_and_popularity(self, store):
        """Users are listed once, in order, up to the limit; popularity counts users, not events."""
        store.upsert_items([film("1"), film("2"), film("3")], "run")
        uses = [rating("bob", "1"), rating("ann", "1"), event("ann", "1", "play", 1), rating("cy", "2")]
        store.upsert_interactions(uses, "run")
        assert store.users() == ("ann", "bob", "cy")
        assert store.users("films", limit=2) == ("ann", "bob")
        assert store.users("books") == ()
        assert store.popularity("films") == {"1": 2, "2": 1}

    def test_deleting_items_takes_what_hangs_on_them(self, store):
        """Titles and interactions of a deleted item are gone, those of others stay."""
        store.upsert_items([film("1", "Heat"), film("2", "Ran")], "run")
        store.upsert_interactions([rating("ann", "1"), rating("ann", "2")], "run")
        assert store.delete_items("films", ["1", "nope"]) == 1
        assert store.title_keys("films") == [("ran", "2")]
        assert [i.item for i in store.export_user("ann")] == ["2"]
        assert store.delete_items("films", ["2"]) == 1
        assert (store.domains(), store.export_user("ann")) == ((), [])

    def test_deleting_a_user(self, store):
        """Everything about the user is gone, counted, and nothing of anybody else."""
        store.upsert_items([film("1")], "run")
        mine = [rating("ann", "1", timestamp=5), event("ann", "1", "play", 0.5)]
        store.upsert_interactions([*mine, rating("bob", "1")], "run")
        assert store.export_user("ann") == [mine[1], mine[0]]
        assert (store.delete_user("ann"), store.delete_user("ann")) == (2, 0)
        assert store.users() == ("bob",)

    def test_a_failing_batch_is_not_written(self, store):
        """A batch is written as a whole or not at all: a time too large for the database undoes the rows before it."""
        store.upsert_items([film("1"), film("2")], "run")
        with pytest.raises(StoreError):
            store.upsert_interactions([rating("ann", "1"), rating("ann", "2", timestamp=2**70)], "run")
        assert store.export_user("ann") == []

    def test_opening_again_keeps_everything(self, store, store_url):
        """`open` makes only what is missing."""
        store.upsert_items([film("1")], "run")
        with Store.open(store_url) as again:
            assert list(again.items("films", ["1"])) == ["1"]
