"""`xdrec chat`. Reads what somebody types, prints what the conversation says, as it comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from xdrec_agent.cli.context import print_json, settings
from xdrec_agent.cli.options import Texts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rich.console import Console
    from rich.text import Text

    from xdrec_agent.converse import Conversation, Dialogue, Dialogues, Event
    from xdrec_agent.settings import Settings
    from xdrec_agent.types import Recommendation


def chat(
    source: Annotated[
        Texts | None, typer.Option("--from", metavar="DOMAIN", help="Source; may be given again.")
    ] = None,
    target: Annotated[
        str | None, typer.Option("--to", metavar="DOMAIN", help="Target; default: you are asked.")
    ] = None,
    user: Annotated[str | None, typer.Option(help="Whose dialogue it is; what the store knows of them counts.")] = None,
    resume: Annotated[str | None, typer.Option(metavar="ID", help="Go on with a kept dialogue.")] = None,
    say: Annotated[
        Texts | None, typer.Option(metavar="TEXT", help="Say this instead of asking; again for more.")
    ] = None,
    lang: Annotated[str, typer.Option(help="Of the first reply: en, zh …; then it follows yours.")] = "en",
    list_: Annotated[bool, typer.Option("--list", help="List kept dialogues.")] = False,
    delete: Annotated[str | None, typer.Option(metavar="ID", help="Delete a kept dialogue.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print events as JSON, one a line.")] = False,
) -> None:
    """Talk about what you liked, and get what suits you, in English, Spanish or Chinese.

    \b
    Examples:
      xdrec chat --from films --to books
      xdrec chat --to books --say "I loved Alien and Stalker" --say "nothing after 1980" --say "why the second?"
      xdrec chat --from films --to books --user ada --lang zh
      xdrec chat --list --user ada
      xdrec chat --resume 5hX0Xq3x0Yk2mJmAqTnC4g
    """
    import asyncio

    from xdrec_agent.converse import known_language

    configured, language = settings(), known_language(lang)
    if list_:
        _list(configured, user, json_=json_)
    elif delete is not None:
        _delete(configured, delete, user)
    else:

        def start(conversation: Conversation, dialogues: Dialogues) -> Dialogue:
            if resume is not None:
                return dialogues.get(resume, user)
            return conversation.start(sources=source or (), target=target, user=user, language=language)

        asyncio.run(_talk(configured, start, say, json_=json_))


def _list(configured: Settings, user: str | None, *, json_: bool) -> None:
    from datetime import UTC, datetime

    from retrieval.templates import plain
    from xdrec_agent.app import open_dialogues

    with open_dialogues(configured, create=False) as dialogues:
        summaries = dialogues.list(user)
    if json_:
        print_json(summaries)
        return
    for one in summaries:
        at = datetime.fromtimestamp(one.updated_at, tz=UTC)
        typer.echo(f"{one.id}  {at:%Y-%m-%d %H:%M}  {one.turns} turns  {plain(one.first, 60)}")


def _delete(configured: Settings, id_: str, user: str | None) -> None:
    from xdrec_agent.app import open_dialogues

    with open_dialogues(configured, create=False) as dialogues:
        dialogues.delete(id_, user)
    typer.echo("deleted")


async def _talk(
    configured: Settings, start: Callable[[Conversation, Dialogues], Dialogue], say: Texts | None, *, json_: bool
) -> None:
    from contextlib import aclosing

    from rich.console import Console

    from xdrec_agent.app import open_dialogues, open_recommender
    from xdrec_agent.converse import Conversation

    out = Console(highlight=False)
    async with open_recommender(configured) as recommender:
        with open_dialogues(configured, store=recommender.store) as dialogues:
            conversation = Conversation(recommender, dialogues, configured.chat)
            dialogue = start(conversation, dialogues)
            if say is None and not json_:
                _welcome(out, dialogue)
            for text in _turns(say):
                async with aclosing(conversation.reply(dialogues.get(dialogue.id, dialogue.user), text)) as events:
                    await _show(events, out, json_=json_)


def _turns(say: Texts | None) -> Iterator[str]:
    """What is said: the given texts, or lines from the terminal until it ends."""
    if say is not None:
        yield from say
        return
    while True:
        try:
            text = typer.prompt("you", prompt_suffix="> ")
        except typer.Abort:  # end of input, or Ctrl-C at the prompt
            typer.echo("")
            return
        if text.strip().casefold() in {"/quit", "/exit", "exit", "quit"}:
            return
        yield text


def _welcome(out: Console, dialogue: Dialogue) -> None:
    from xdrec_agent.converse import Remark, remark_sentences

    greeting = remark_sentences([Remark(note="greeting"), Remark(note="help")], dialogue.state.language)
    out.print("\n".join(greeting), markup=False)
    out.print(f"xdrec chat --resume {dialogue.id}  ·  /quit", style="dim", markup=False)


async def _show(events: AsyncIterator[Event], out: Console, *, json_: bool) -> None:
    async for event in events:
        if json_:
            typer.echo(event.model_dump_json(exclude_defaults=False))
        else:
            _print(event, out)


def _print(event: Event, out: Console) -> None:
    from rich.text import Text

    from retrieval.templates import visible
    from xdrec_agent.converse import Asked, Explained, Ranked, Said, Understood

    if isinstance(event, Understood):
        out.print(Text(visible(event.text), style="dim"))
        if event.degraded:
            out.print(Text(visible(f"({event.reason})"), style="yellow"))
    elif isinstance(event, Asked | Said):
        out.print(Text(visible(event.text)))
    elif isinstance(event, Ranked):
        for item in event.answer.items:
            out.print(_line(item))
        if event.answer.degraded:
            out.print(Text(visible(f"degraded: {event.answer.reason}"), style="bold yellow"))
    elif isinstance(event, Explained) and event.item.explanation:
        out.print(Text(f"{event.item.rank:>2}  ").append(visible(event.item.explanation.text), style="italic"))


def _line(entry: Recommendation) -> Text:
    from rich.text import Text

    from retrieval.templates import visible

    by = ", ".join([*map(visible, entry.item.creators), *([str(entry.item.year)] if entry.item.year else [])])
    return (
        Text(f"{entry.rank:>2}  ").append(visible(entry.item.title), style="bold cyan").append(f"  {by}", style="dim")
    )
