"""The stages of a batch, as Ray runs them. Read a table of parts, produce the next: retrieve, then answer and write.

A row is a part. `Retrieve` turns its users into queries with their candidates; `Answer` has them reranked and explained
by the configured servers, and writes the part's file. Each is an actor that opens what it needs once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

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

    from retrieval.store import Store
    from xdrec_agent.llm import LLMClient


class PreparedUser(Frozen):
    """A user's query with what retrieval found; or why there is none."""

    user: str
    query: Query | None = None
    retrieved: Ranking | None = None
    reason: str = ""


class Retrieve:
    """Adds the column `prepared`: for each user of a part an `PreparedUser` as JSON. Uses no model."""

    def __init__(self, settings: Settings, job: Job) -> None:
        self._job = job
        self._store = open_store(settings, create=False)
        self._recommender = make_recommender(
            settings, open_retriever(settings, self._store, RelationGraph(open_relations(settings, create=False))), None
        )

    def __call__(self, parts: pa.Table) -> pa.Table:
        """Retrieve for all users of the parts."""
        import pyarrow as pa

        prepared = [[self.prepare(user).model_dump_json() for user in users] for users in parts["users"].to_pylist()]
        return parts.append_column("prepared", pa.array(prepared, pa.list_(pa.large_string())))

    def prepare(self, user: str) -> PreparedUser:
        """What a user's history gives. Raises SetupError, BackendError: what all users need is missing."""
        job = self._job
        try:
            query = build_query(self._store, sources=job.sources, target=job.target, user=user, k=job.k)
            retrieved = self._recommender.retrieve(query)
        except UsageError as exc:  # of this user alone: the domains were checked before
            return PreparedUser(user=user, reason=str(exc))
        return PreparedUser(user=user, query=query, retrieved=retrieved)


class Answer:
    """Answers what `Retrieve` prepared and writes each part; leaves the records of the parts (`Done` as JSON).

    Args:
        retry: whether only some users of a part come, whose rows replace those in its file.
        replies: by part, what Ray's vLLM stage gave; None: the configured servers are prepared.
    """

    def __init__(
        self, settings: Settings, job: Job, folder: str, *, retry: bool, replies: PartReplies | None = None
    ) -> None:
        self._settings = settings
        self._explain = job.explain
        self._folder = ResultFolder(folder)
        self._retry = retry
        self._replies = replies
        self._runner = asyncio.Runner()
        self._servers: UserAnswerer | None = None

    def __call__(self, parts: pa.Table) -> pa.Table:
        """Answer and write."""
        import pyarrow as pa

        done = []
        for part in parts.to_pylist():
            prepared = [PreparedUser.model_validate_json(one) for one in part["prepared"]]
            rows = self._runner.run(self._rows(part["part"], prepared))
            table = table_of(rows)
            if self._retry:
                table = replace_rows(self._folder.read_part(part["part"]), table)
            done.append(self._folder.write_part(part["part"], table).model_dump_json())
        return pa.table({"done": pa.array(done, pa.string())})

    async def _rows(self, part: str, prepared: Sequence[PreparedUser]) -> list[Row]:
        if self._replies is not None:
            async with UserAnswerer(
                self._settings, self._explain, offline_client(self._settings, self._replies, part)
            ) as own:
                return await own.rows(prepared)
        if self._servers is None:  # opened in the loop in which it is used
            self._servers = await UserAnswerer(self._settings, self._explain).__aenter__()
        return await self._servers.rows(prepared)


class UserAnswerer:
    """Reranks and explains with the configured servers; an async context manager.

    Args:
        client: an open client to use in place of the configured servers'.
    """

    def __init__(self, settings: Settings, explain: bool, client: LLMClient | None = None) -> None:
        self._settings = settings
        self._explain = explain
        self._client = client
        self._no_client = ""
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        settings = self._settings
        store: Store = self._stack.enter_context(open_store(settings, create=False))
        if self._client is None:
            try:
                self._client = await self._stack.enter_async_context(open_client(settings))
            except ServerNotRunning as exc:
                self._no_client = f"{exc} (start it with: {exc.hint})"
        relations = self._stack.enter_context(open_relations(settings, create=False))
        retriever = open_retriever(settings, store, RelationGraph(relations))
        self._recommender: Recommender = make_recommender(settings, retriever, self._client, self._no_client)
        servers = len(self._client.endpoint.base_urls) if self._client else 1
        # A user keeps two requests busy at least: more users at a time would only wait for each other.
        self._turn = asyncio.Semaphore(max(1, settings.llm.concurrency * servers // 2))
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def rows(self, prepared: Sequence[PreparedUser]) -> list[Row]:
        """A row for each user, in order."""
        return await gathered(map(self._row, prepared))

    async def _row(self, prepared: PreparedUser) -> Row:
        if prepared.query is None or prepared.retrieved is None:
            return Row(user=prepared.user, reason=prepared.reason)
        async with self._turn:
            answer = await self._recommender.recommend(
                prepared.query, explain=self._explain, retrieved=prepared.retrieved
            )
        return row_of(prepared.user, answer, self._no_client)


PartReplies = Mapping[str, Mapping[str, str]]
"""By part and key, a `OfflineReply` as JSON."""


def offline_client(settings: Settings, replies: PartReplies, part: str, *, final: bool = True) -> OfflineLLMClient:
    """A client that answers with what was worked out for a part."""
    found = {key: OfflineReply.model_validate_json(reply) for key, reply in replies.get(part, {}).items()}
    return OfflineLLMClient(settings.llm.model, found, final=final)


def replace_rows(old: pa.Table, new: pa.Table) -> pa.Table:
    """The rows of `old`, those of the users in `new` replace_rows, in the old order; nobody else is added."""
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
