"""Which item a mention means. Reads what is said and what the dialogue knows, produces items or a question.

An item of several domains is the one of the domain that the words around it name, else of the domain that the role
speaks of: what was liked is of the source, what is asked "why not" of the target.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from retrieval.types import Item
from xdrec_agent.converse.lexicon import Lexicon
from xdrec_agent.converse.rules.mentions import Ids
from xdrec_agent.converse.rules.sentiment_cues import Said
from xdrec_agent.converse.rules.switches import domain_of, kind_of, nouns
from xdrec_agent.converse.state import DialogueState, ItemRef, Option, Question, QuestionKind

_OF_TARGET: Final = frozenset({"why", "why_not", "tell"})
_READ: Final = re.compile(r"\bread(?:ing)?\b|读", re.I)
_WATCHED: Final = re.compile(r"\b(?:watch(?:ed|ing)?|saw|seen)\b", re.I)


@dataclass(frozen=True)
class Chooser:
    """Chooses among the items of a lexicon, for one state."""

    lexicon: Lexicon
    domains: Sequence[str]
    state: DialogueState

    def choose(self, said: Said) -> tuple[tuple[ItemRef, ...], Question | None]:
        """The items that a mention means, or the question that must be asked. Raises StoreError."""
        mention = said.mention
        if mention.kind == "unknown":
            return (), self._question("unknown", said, self._within(mention.ids, said))
        items = self._items(mention.ids)
        if mention.kind == "shown":
            return tuple(map(ItemRef.of, items)), None
        named = self._hinted(said)
        if not named and not self.state.sources and not self.state.target and len({i.domain for i in items}) > 1:
            return (), self._question("ambiguous", said, mention.ids)
        items = self._of_domain(items, named, said)
        if mention.kind == "series":
            return tuple(map(ItemRef.of, items)), None
        works = {(item.domain, item.edition_of or item.id): item for item in reversed(items)}
        if len(works) == 1:
            return (ItemRef.of(next(iter(works.values()))),), None
        return (), self._question("ambiguous", said, tuple((i.domain, i.id) for i in reversed(works.values())))

    def refs(self, ids: Ids) -> tuple[ItemRef, ...]:
        """References to these items, in order. Raises StoreError."""
        return tuple(map(ItemRef.of, self._items(ids)))

    def _items(self, ids: Ids) -> list[Item]:
        found = {}
        for domain in dict.fromkeys(domain for domain, _ in ids):
            for item in self.lexicon.items(domain, [id_ for of, id_ in ids if of == domain]).values():
                found[domain, item.id] = item
        return [found[key] for key in ids if key in found]

    def _of_domain(self, items: list[Item], named: str | None, said: Said) -> list[Item]:
        shown = {ref.key for ref in self.state.shown}
        if said.role in {*_OF_TARGET, "refuse", "forget"} and (here := [i for i in items if (i.domain, i.id) in shown]):
            return here
        if said.role == "forget":
            known = {o.item.key for o in (*self.state.likes, *self.state.dislikes)}
            if mine := [i for i in items if (i.domain, i.id) in known]:
                return mine
        for domain in self._order(named, said):
            if found := [item for item in items if item.domain == domain]:
                return found
        return items

    def _order(self, named: str | None, said: Said) -> list[str]:
        sources, target = list(self.state.sources), [self.state.target] if self.state.target else []
        order = [*target, *sources] if said.role in _OF_TARGET else [*sources, *target]
        return list(dict.fromkeys([*([named] if named else []), *order, *self.domains]))

    def _hinted(self, said: Said) -> str | None:
        """The domain whose noun stands nearest before the mention, else right behind it, else that a verb tells."""
        nearest: tuple[int, str] | None = None
        for domain in self.domains:
            noun = nouns(kind_of(domain), domain)
            for match in re.finditer(noun, said.before, re.I):
                if nearest is None or match.end() > nearest[0]:
                    nearest = (match.end(), domain)
        if (nearest and said.role != "like") or (nearest and len(said.before) - nearest[0] <= 40):
            return nearest[1] if nearest else None
        for domain in self.domains:
            noun = nouns(kind_of(domain), domain)
            if re.match(rf"[^\w]*(?:the\s+|\(the\s+|这?[一两三]?[本部]?)?{noun}", said.after, re.I) or re.match(
                rf"[^，,。]{{0,12}}?[这那][一两三几]?[本部个]?{noun}", said.after
            ):
                return domain
        verb = "book" if _READ.search(said.before) or "读" in said.after[:4] else None
        verb = "film" if _WATCHED.search(said.before) else verb
        return domain_of(verb, self.domains) if verb else None

    def _within(self, ids: Ids, said: Said) -> Ids:
        order = self._order(self._hinted(said), said)
        first = [pair for pair in ids if pair[0] == order[0]] if order else []
        return tuple(first) or ids

    def _question(self, kind: QuestionKind, said: Said, ids: Ids) -> Question:
        options = tuple(Option(item=ref) for ref in self.refs(ids[:5]))
        preference = said.preference if said.role in {"like", "dislike"} else (1.0 if said.role == "none" else None)
        return Question(kind=kind, text=said.mention.text[:200], options=options, preference=preference)
