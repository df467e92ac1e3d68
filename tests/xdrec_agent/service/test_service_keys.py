"""Promises of keys: who has none gets nothing, and no key reads another person's things."""

from __future__ import annotations

import sqlite3

import pytest
from service_kit import ASK, opener, serving, settings_at

from retrieval.errors import UsageError
from xdrec_agent.app import Keys, delete_user, export_user
from xdrec_agent.service.app import create_app
from xdrec_agent.service.app_state import keys_required
from xdrec_agent.settings import ServiceSettings


@pytest.fixture
def secrets_of(home):
    """Keys of Ada, of Bob and of an operator."""
    with Keys.open(settings_at(home).store_url) as keys:
        made = {user: keys.create(f"{user}'s", user=user)[1] for user in ("ada", "bob")}
        return made | {"operator": keys.create("shop")[1]}


@pytest.mark.parametrize("key", [None, "xdr_wrong", "x" * 5000])
def test_without_a_good_key_nothing_is_told(home, key):
    """401, with what to do; only the health of the process is open."""
    with serving(home, key=key, keys="required") as http:
        for reply in (http.get("/v1/domains"), http.post("/v1/recommend", json=ASK), http.get("/metrics")):
            assert reply.status_code == 401
            assert reply.headers["www-authenticate"] == "Bearer"
            assert "xdrec keys create" in reply.json()["hint"]
        assert http.get("/health/live").status_code == 200


def test_a_key_stands_for_its_user(home, secrets_of):
    """Without a name it is the key's user; another's name is refused."""
    with serving(home, key=secrets_of["ada"], keys="required") as http:
        assert http.post("/v1/recommend", json=ASK | {"user": None}).json()["user"] == "ada"
        refused = http.post("/v1/recommend", json=ASK | {"user": "bob"})
        assert (refused.status_code, refused.json()["type"]) == (403, "urn:xdrec:forbidden")
        told = {"item": {"domain": "books", "id": "sea-1"}, "kind": "known", "user": "bob"}
        assert http.post("/v1/feedback", json=told).status_code == 403
        assert http.get("/metrics").status_code == 403


def test_anothers_answer_looks_like_none(home, secrets_of):
    """It cannot be read, asked about or rated, and cannot be told from an id that nobody has."""
    with serving(home, keys="required") as http:
        ada, bob = ({"authorization": f"Bearer {secrets_of[user]}"} for user in ("ada", "bob"))
        answer = http.post("/v1/recommend", json=ASK | {"user": None}, headers=ada).json()["id"]
        none, theirs = (http.get(f"/v1/answers/{id_}", headers=bob) for id_ in ("nobodys", answer))
        assert (none.status_code, theirs.status_code) == (404, 404)
        assert theirs.json() == none.json() | {"detail": none.json()["detail"].replace("nobodys", answer)}
        told = {"item": {"domain": "books", "id": "space-1"}, "kind": "known", "answer": answer}
        assert http.post("/v1/feedback", json=told, headers=bob).status_code == 404
        assert http.post("/v1/explain", json={"answer": answer, "rank": 1}, headers=bob).status_code == 404
        assert http.get(f"/v1/answers/{answer}", headers=ada).status_code == 200


def test_an_operator_acts_for_whom_a_request_names(home, secrets_of):
    """A shop's server has one key for all of its customers."""
    with serving(home, key=secrets_of["operator"], keys="required") as http:
        assert {http.post("/v1/recommend", json=ASK | {"user": u}).json()["user"] for u in ("ada", "bob")} == {
            "ada",
            "bob",
        }
        assert http.get("/metrics").status_code == 200


def test_a_revoked_key_is_refused_at_once(home, secrets_of):
    """The next request already."""
    with serving(home, key=secrets_of["ada"], keys="required") as http, Keys(settings_at(home).store_url) as keys:
        assert http.get("/v1/domains").status_code == 200
        keys.revoke(keys.list("ada")[0].id)
        assert http.get("/v1/domains").status_code == 401
        with pytest.raises(UsageError, match="no key"):
            keys.revoke(keys.list("ada")[0].id)


def test_keys_are_not_at_rest(home, secrets_of):
    """Whoever reads the database cannot call."""
    connection = sqlite3.connect(home / "store.sqlite")
    dump = "\n".join(connection.iterdump())
    connection.close()
    assert all(secret not in dump and secret[4:] not in dump for secret in secrets_of.values())


def test_requests_per_key_are_limited(home, secrets_of):
    """One key's share says nothing about another's; the answer tells when to come again."""
    with serving(home, keys="required", rate="3/hour") as http:
        ada, bob = ({"authorization": f"Bearer {secrets_of[user]}"} for user in ("ada", "bob"))
        assert [http.get("/v1/domains", headers=ada).status_code for _ in range(4)] == [200, 200, 200, 429]
        refused = http.get("/v1/domains", headers=ada)
        assert int(refused.headers["retry-after"]) > 0
        assert http.get("/v1/domains", headers=bob).status_code == 200


def test_a_deleted_person_has_no_keys(home, secrets_of):
    """Keys bound to somebody are part of what is kept about them."""
    settings = settings_at(home)
    assert [key["name"] for key in export_user(settings, "ada")["api_keys"]] == ["ada's"]
    assert delete_user(settings, "ada")["api_keys"] == 1
    with Keys(settings.store_url) as keys:
        assert {key.user for key in keys.list()} == {"bob", None}


@pytest.mark.parametrize(
    ("host", "keys", "needed"),
    [
        ("127.0.0.1", "auto", False),
        ("::1", "auto", False),
        ("localhost", "auto", False),
        ("::", "auto", True),
        ("192.0.2.7", "auto", True),
        ("127.0.0.1", "required", True),
    ],
)
def test_only_this_machine_may_do_without_keys(host, keys, needed):
    """Whatever others can reach needs keys."""
    assert keys_required(ServiceSettings(host=host, keys=keys)) is needed


def test_keys_cannot_be_off_where_others_can_connect(home):
    """The application is not even made."""
    with pytest.raises(UsageError, match="everybody"):
        create_app(settings_at(home, host="::", keys="off"), opener())


def test_without_keys_only_requests_for_this_machine_are_answered(http):
    """A web page whose name points here reads nothing."""
    reply = http.get("/v1/domains", headers={"host": "evil.example"})
    assert (reply.status_code, reply.json()["type"]) == (400, "urn:xdrec:wrong-host")
