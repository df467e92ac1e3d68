"""Promises of the kept dialogues: resumable by an id that cannot be guessed, bounded, deletable, of one user."""

from __future__ import annotations

import threading
import time

import pytest

from retrieval.errors import StoreError, UsageError
from retrieval.store import Store
from retrieval.types import Item
from xdrec_agent.app import delete_user, export_user
from xdrec_agent.converse import Dialogues, DialogueState, ItemRef, Opinion, Turn
from xdrec_agent.converse.dialogues import MOST_BYTES, MOST_TEXT, MOST_TURNS, save_likes
from xdrec_agent.errors import DialogueBusy
from xdrec_agent.settings import Settings

STATE = DialogueState(
    target="books",
    sources=("films",),
    likes=(Opinion(item=ItemRef(domain="films", id="a", title="Alien")),),
    dislikes=(Opinion(item=ItemRef(domain="films", id="b", title="Cube"), preference=-0.5),),
    wish="安静",
)


@pytest.fixture
def url(tmp_path):
    url = f"sqlite:///{tmp_path / 'store.sqlite'}"
    with Store.open(url) as store:
        store.upsert_items([Item(domain="films", id=i, title=t) for i, t in (("a", "Alien"), ("b", "Cube"))], "run")
    return url


@pytest.fixture
def dialogues(url):
    with Dialogues.open(url) as dialogues:
        yield dialogues


def test_a_dialogue_comes_back_as_it_was_kept(dialogues):
    """State and turns are the same again; ids are long, and none is another's."""
    dialogue = dialogues.start(STATE, "ada")
    kept = dialogues.keep(dialogue.model_copy(update={"turns": (Turn(said="hi 你好", at=1),)}), after=())
    assert dialogues.get(dialogue.id, "ada") == kept
    ids = {dialogues.start(STATE).id for _ in range(20)}
    assert len(ids) == 20
    assert min(map(len, ids)) >= 20


def test_it_is_found_by_its_user_only(dialogues):
    """Another user, or nobody, gets what an unknown id gets; nobody's dialogue is no user's."""
    of_ada, of_nobody = dialogues.start(STATE, "ada"), dialogues.start(STATE)
    for id_, user in ((of_ada.id, "bob"), (of_ada.id, None), (of_nobody.id, "bob"), ("none", None)):
        with pytest.raises(UsageError, match="no such dialogue"):
            dialogues.get(id_, user)
        with pytest.raises(UsageError, match="no such dialogue"):
            dialogues.delete(id_, user)
    assert [one.id for one in dialogues.list("ada")] == [of_ada.id]


def test_it_is_bounded(dialogues):
    """The latest turns stay, in number and in bytes."""
    dialogue = dialogues.start(STATE)
    many = tuple(Turn(said=f"turn {n}", at=n) for n in range(MOST_TURNS + 10))
    kept = dialogues.keep(dialogue.model_copy(update={"turns": many}), after=()).turns
    assert kept[0].at == 10
    long = tuple(Turn(said="说" * MOST_TEXT, at=n) for n in range(150))
    kept = dialogues.keep(dialogue.model_copy(update={"turns": long}), after=kept).turns
    assert sum(len(t.model_dump_json().encode()) for t in kept) <= MOST_BYTES
    assert kept[-1].at == 149


def test_a_deleted_one_stays_deleted(dialogues):
    """A reply that still runs does not bring it back."""
    dialogue = dialogues.start(STATE)
    dialogues.delete(dialogue.id)
    dialogues.keep(dialogue, after=())
    with pytest.raises(UsageError):
        dialogues.get(dialogue.id)


def test_two_turns_at_once_cannot_undo_each_other(dialogues, url):
    """Of many processes that read the same state and write at once one succeeds; the others are told to try again."""
    dialogue, together, done = dialogues.start(STATE), threading.Barrier(6), []

    def speak(name):
        with Dialogues.open(url) as mine:
            read = mine.get(dialogue.id)
            together.wait()
            try:
                mine.keep(read.model_copy(update={"turns": (*read.turns, Turn(said=name, at=1))}), after=read.turns)
                done.append(name)
            except DialogueBusy as exc:
                done.append(exc)

    threads = [threading.Thread(target=speak, args=(f"turn {n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [one for one in done if isinstance(one, str)]
    assert [turn.said for turn in dialogues.get(dialogue.id).turns] == [winner]
    assert all(one.retryable and one.http_status == 409 for one in done if one is not winner)


def test_those_in_which_nobody_speaks_any_more_go(dialogues, monkeypatch):
    """First the old ones, then the oldest of too many; the latest stay, whoever's they are."""
    now = time.time()
    ids = []
    for age in (400, 30, 20, 10, 0):
        monkeypatch.setattr(time, "time", lambda age=age: now - age * 86_400)
        ids.append(dialogues.start(STATE, "ada" if age % 20 else None).id)
    assert dialogues.forget_old(days=365, most=100) == 1
    assert dialogues.forget_old(days=365, most=2) == 2
    assert dialogues.forget_old(days=365, most=2) == 0
    assert {one.id for user in ("ada", None) for one in dialogues.list(user)} == set(ids[3:])


def test_likes_become_ratings_only_when_asked(dialogues, url):
    """A like is 5 stars, "not as bleak as" 2; nobody's dialogue has nobody to keep them for."""
    dialogue = dialogues.start(STATE, "ada")
    with Store.open(url) as store:
        assert store.users() == ()
        assert save_likes(dialogue, store) == 2
        assert {(i.item, i.value) for i in store.export_user("ada")} == {("a", 5.0), ("b", 2.0)}
        with pytest.raises(UsageError, match="nobody"):
            save_likes(dialogues.start(STATE), store)


def test_dialogues_are_personal_data(dialogues, url):
    """Exporting a user shows them, deleting a user deletes them, and other people's stay."""
    dialogue, other = dialogues.start(STATE, "ada"), dialogues.start(STATE, "bob")
    settings = Settings(store={"url": url})
    assert [one["id"] for one in export_user(settings, "ada")["dialogues"]] == [dialogue.id]
    assert delete_user(settings, "ada")["dialogues"] == 1
    assert dialogues.list("ada") == ()
    assert dialogues.get(other.id, "bob") == other


def test_a_row_of_another_version_is_an_error_with_a_way_out(dialogues, url):
    """It says so, and how to get rid of it."""
    import sqlite3

    dialogue = dialogues.start(STATE)
    with sqlite3.connect(url.removeprefix("sqlite:///")) as raw:
        raw.execute('UPDATE dialogues SET document = \'{"of": "yore"}\'')
    raw.close()
    with pytest.raises(StoreError, match="another version") as caught:
        dialogues.get(dialogue.id)
    assert f"--delete {dialogue.id}" in caught.value.hint
    assert [one.id for one in dialogues.list()] == [dialogue.id]
    dialogues.delete(dialogue.id)
    assert dialogues.list() == ()
