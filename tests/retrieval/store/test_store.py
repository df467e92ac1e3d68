"""The store on SQLite: its contract, and what only a file can do wrong."""

import sqlite3
import threading

import pytest
from store_contract import StoreContract, film, rating

from retrieval.errors import StoreError
from retrieval.store import Store


@pytest.fixture
def store_url(tmp_path):
    return f"sqlite:///{tmp_path}/new/folder/store.sqlite"


class TestSQLiteStore(StoreContract):
    """SQLite keeps the contract of a store."""


CALLS = {
    "upsert_items": lambda s: s.upsert_items([film("1")], "run"),
    "upsert_interactions": lambda s: s.upsert_interactions([rating("ann", "1")], "run"),
    "items": lambda s: s.items("films", ["1"]),
    "iter_items": lambda s: list(s.iter_items("films")),
    "item_hashes": lambda s: list(s.item_hashes("films")),
    "generation": lambda s: s.generation("films"),
    "domains": lambda s: s.domains(),
    "domain_names": lambda s: s.domain_names(),
    "has": lambda s: s.has("films"),
    "interactions_generation": lambda s: s.interactions_generation(),
    "preferences": lambda s: list(s.preferences()),
    "history": lambda s: s.history("ann"),
    "users": lambda s: s.users(),
    "item_ids_by_title": lambda s: s.item_ids_by_title("films", "alien"),
    "title_keys": lambda s: s.title_keys("films"),
    "delete_items": lambda s: s.delete_items("films", ["1"]),
    "popularity": lambda s: s.popularity("films"),
    "export_user": lambda s: s.export_user("ann"),
    "delete_user": lambda s: s.delete_user("ann"),
}


def test_every_public_method_is_in_the_table_of_calls():
    """A new method cannot escape the tests below."""
    assert {name for name in vars(Store) if not name.startswith("_")} - {"metadata"} == set(CALLS)


@pytest.mark.parametrize("name", CALLS)
def test_damaged_file_is_a_store_error(tmp_path, name):
    """Whatever is called on a file that is no database, the error is ours, names the file and has a hint."""
    path = tmp_path / "store.sqlite"
    path.write_bytes(b"this is not a database" * 100)
    with Store(f"sqlite:///{path}") as store, pytest.raises(StoreError, match=r"store\.sqlite") as caught:
        CALLS[name](store)
    assert caught.value.hint
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("name", CALLS)
def test_missing_tables_are_a_store_error(tmp_path, name):
    """On a database without tables every call says that a catalogue has to be ingested first."""
    with Store(f"sqlite:///{tmp_path}/empty.sqlite") as store, pytest.raises(StoreError) as caught:
        CALLS[name](store)
    assert "xdrec ingest" in caught.value.hint


@pytest.mark.parametrize("url", ["nonsense", "mysql://host/db", "sqlite:////dev/null/x/store.sqlite"])
def test_unusable_url_is_a_store_error(url):
    """A URL that leads nowhere is refused when the store is opened."""
    with pytest.raises(StoreError):
        Store.open(url)


def test_password_is_not_shown():
    """An error about the database does not print the password of its URL."""
    with pytest.raises(StoreError) as caught:
        Store("mysql://me:secret@host/db")
    assert "secret" not in str(caught.value)


def test_unreadable_payload_is_a_store_error(store_url):
    """A stored item that this version cannot read is a store error, not a validation error."""
    with Store.open(store_url) as store:
        store.upsert_items([film("1")], "run")
        with sqlite3.connect(store_url.removeprefix("sqlite:///")) as raw:
            raw.execute("UPDATE items SET payload = '{}'")
        raw.close()
        for call in (lambda: store.items("films", ["1"]), lambda: list(store.iter_items("films"))):
            with pytest.raises(StoreError, match="not readable"):
                call()


def test_newer_schema_is_refused(store_url):
    """A store that a newer version wrote is refused rather than misread."""
    with Store.open(store_url):
        pass
    with sqlite3.connect(store_url.removeprefix("sqlite:///")) as raw:
        raw.execute("UPDATE meta SET value = 99 WHERE key = 'schema'")
    raw.close()
    with pytest.raises(StoreError, match="schema 99"):
        Store.open(store_url)


def test_file_is_in_wal_mode(store_url):
    """Readers are not blocked by a writer: the file is in write-ahead mode."""
    with Store.open(store_url), sqlite3.connect(store_url.removeprefix("sqlite:///")) as raw:
        assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    raw.close()


def test_two_writers_take_turns(store_url):
    """Two connections that write at the same time lose nothing and count every change in the generation."""
    with Store.open(store_url) as store:

        def work(name):
            for n in range(20):
                store.upsert_items([film(f"{name}{n}")], name)

        threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (store.domains()[0].items, store.generation("films")) == (40, 40)


def test_missing_driver_names_the_extra():
    """A URL whose driver is not installed says what to install."""
    with pytest.raises(StoreError) as caught:
        Store("postgresql+pg8000://host/db")
    assert caught.value.hint == "pip install 'xdrec[postgres]'"
