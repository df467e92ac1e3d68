"""The stages of a batch, as Ray runs them. Read a table of parts, produce the next: retrieve, then answer and write.

A row is a part. `Retrieve` turns its users into queries with their candidates; `Answer` has them reranked and explained
by the configured servers, and writes the part's file. Each is an actor that opens what it needs once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import cached_property
from typing import TYPE_CHECKING

from retrieval.errors import UsageError
from retrieval.relations import RelationGraph
from retrieval.types import Frozen, Query, Ranking
from xdrec_agent.app import make_recommender, open_client, open_relations, open_retriever, open_store
from xdrec_agent.batch.folder import ResultFolder
from xdrec_agent.batch.offline_llm_client import OfflineLLMClient, OfflineReply
from xdrec_agent.batch.plan import Job
from xdrec_agent.batch.rows import Row, row_of, table_of
from xdrec_agent.errors import ServerNotRunning
from xdrec_agent.llm import gathered
from xdrec_agent.recommend import Recommender, build_query
from xdrec_agent.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from retrieval.ranking import Retriever
    from retrieval.store import Store
    from xdrec_agent.llm import LLMClient


class PreparedUser(Frozen):
    """A user's query with what retrieval found; or why there is none."""

    user: str
    query: Query | None = None
    retrieved: Ranking | None = None
    reason: str = ""


class Retrieve:
    """Adds the column `prepared`: for each user of a part a `PreparedUser` as JSON. Uses no model."""

    def __init__(self, settings: Settings, job: Job) -> None:
        self._job = job
        self._store, retriever = open_retrieval(settings)
        self._recommender = make_recommender(settings, retriever, None)

    def __call__(self, parts: pa.Table) -> pa.Table:
        """Retrieve for all users of the parts."""
        import pyarrow as pa

        prepared = [[self._prepare(user).model_dump_json() for user in users] for users in parts["users"].to_pylist()]
        return parts.append_column("prepared", pa.array(prepared, pa.list_(pa.large_string())))

    def _prepare(self, user: str) -> PreparedUser:
        """What a user's history gives. Raises SetupError, BackendError: what all users need is missing."""
        job = self._job
        try:
            query = build_query(self._store, sources=job.sources, target=job.target, user=user, k=job.k)
            return PreparedUser(user=user, query=query, retrieved=self._recommender.retrieve(query))
        except UsageError as exc:  # of this user alone: the domains were checked before
            return PreparedUser(user=user, reason=str(exc))


class Answer:
    """Answers what `Retrieve` prepared and writes each part; leaves the names of the parts.

    Args:
        retry: whether only some users of a part come, whose rows replace those in its file.
        replies: by part, what Ray's vLLM stage gave; None: the configured servers are asked.
    """

    def __init__(
        self, settings: Settings, job: Job, folder: str, *, retry: bool, replies: PartReplies | None = None
    ) -> None:
        self._settings = settings
        self._explain = job.explain
        self._folder = ResultFolder(folder)
        self._retry = retry
        self._replies = replies
        _, self._retriever = open_retrieval(settings)
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()

    def __call__(self, parts: pa.Table) -> pa.Table:
        """Answer and write."""
        for part in parts.to_pylist():
            name, users = part["part"], map(PreparedUser.model_validate_json, part["prepared"])
            if self._replies is None:
                client, no_client = self._server_client
            else:
                client, no_client = offline_client(self._settings, self._replies, name), ""
            recommender = make_recommender(self._settings, self._retriever, client, no_client)
            servers = len(client.endpoint.base_urls) if client else 1
            # A user keeps two requests busy at least: more users at a time would only wait for each other.
            turn = asyncio.Semaphore(max(1, self._settings.llm.concurrency * servers // 2))
            rows = (row_for(user, recommender, no_client, turn, explain=self._explain) for user in users)
            table = table_of(self._runner.run(gathered(rows)))
            if self._retry:
                table = replace_rows(self._folder.read_part(name), table)
            self._folder.write_part(name, table)
        return parts.select(["part"])

    @cached_property
    def _server_client(self) -> tuple[LLMClient | None, str]:
        """A client of the configured servers in the runner's loop, or why there is none."""
        try:
            return self._runner.run(self._stack.enter_async_context(open_client(self._settings))), ""
        except ServerNotRunning as exc:
            return None, f"{exc} (start it with: {exc.hint})"


async def row_for(
    prepared: PreparedUser, recommender: Recommender, no_client: str, turn: asyncio.Semaphore, *, explain: bool
) -> Row:
    """A user's row: reranked and explained when it is the user's turn."""
    if prepared.query is None or prepared.retrieved is None:
        return Row(user=prepared.user, reason=prepared.reason)
    async with turn:
        answer = await recommender.recommend(prepared.query, explain=explain, retrieved=prepared.retrieved)
    return row_of(prepared.user, answer, no_client)


def open_retrieval(settings: Settings) -> tuple[Store, Retriever]:
    """Store and retriever, open as long as the actor that needs them lives."""
    store = open_store(settings, create=False)
    return store, open_retriever(settings, store, RelationGraph(open_relations(settings, create=False)))


PartReplies = Mapping[str, Mapping[str, str]]
"""By part and key, a `OfflineReply` as JSON."""


def offline_client(settings: Settings, replies: PartReplies, part: str, *, final: bool = True) -> OfflineLLMClient:
    """A client that answers with what was worked out for a part."""
    known = {key: OfflineReply.model_validate_json(reply) for key, reply in replies.get(part, {}).items()}
    return OfflineLLMClient(settings.llm.model, known, final=final)


def replace_rows(old: pa.Table, new: pa.Table) -> pa.Table:
    """The rows of `old` in their order, those of the users in `new` replaced; nobody else is added."""
    import pyarrow as pa
    import pyarrow.compute as pc

    both = pa.concat_tables([old.filter(pc.invert(pc.is_in(old["user"], new["user"]))), new])
    places = pc.index_in(old["user"], both["user"])
    return both.take(places)


def parts_table(parts: Sequence[tuple[str, Sequence[str]]]) -> pa.Table:
    """Parts (name, users) as the stages read them."""
    import pyarrow as pa

    users = pa.array([list(users) for _, users in parts], pa.list_(pa.string()))
    return pa.table({"part": pa.array([name for name, _ in parts], pa.string()), "users": users})


def unattended(settings: Settings) -> Settings:
    """Settings for work that nobody waits for: long deadlines, and no response cache.

    The cache is SQLite in the home folder: several machines must not write it, and parts are kept anyway.
    """
    prepared = settings.patient().llm
    llm = prepared.model_copy(update={"cache": "only" if prepared.cache == "only" else "off"})
    slow = {"deadline_s": llm.timeout_s}
    return settings.model_copy(
        update={
            "home": settings.home.absolute(),  # workers have working folders of their own
            "llm": llm,
            "rerank": settings.rerank.model_copy(update=slow),
            "explain": settings.explain.model_copy(update=slow),
        }
    )
