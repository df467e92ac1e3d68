"""Promises of the languages: each is a folder, a wrong file is told, and a small third one does the basic turns."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from retrieval.errors import TemplateError, UsageError
from retrieval.templates import read_yaml
from xdrec_agent.converse import DialogueState, chat_languages, update_state
from xdrec_agent.converse.language import LanguageFile, grammar_of, languages_of
from xdrec_agent.converse.replies import ChatSentences, chat_sentences, question_sentence, remark_sentences, summary

WRITING = "writing: {script: latin, text: '[a-z]'}\n"


@pytest.fixture
def spanish(refs):
    """A Spanish dialogue from films to books, in which four books are shown."""
    shown = refs("dune", "kindred", "foundation", "solaris")
    return DialogueState(language="es", sources=("films",), target="books", shown=shown)


def ids(opinions):
    return [opinion.item.id for opinion in opinions]


def test_every_language_has_both_files_and_every_sentence():
    """What one language says the others say, too."""
    assert {"en", "es", "zh"} <= set(chat_languages())
    english = chat_sentences("en")
    for language in chat_languages():
        grammar_of((language,))
        sentences = chat_sentences(language)
        for name in ("notes", "asks", "state", "facts"):
            assert getattr(sentences, name).keys() == getattr(english, name).keys(), language
    with pytest.raises(UsageError, match="xx"):
        chat_sentences("xx")
    with pytest.raises(ValidationError, match="xx"):
        DialogueState(language="xx")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (WRITING + "talk: {restart: '('}", "talk.restart"),
        (WRITING + "talk: {restart: '{nothing}'}", "no macro {nothing}"),
        (WRITING + "talk: {again: x}", "talk.again"),
        (WRITING + "switch: {there: '({noun}'}", "switch.there"),
        (WRITING + "cues: [{role: adored, pattern: x}]", "cues.0.role"),
        ("talk: {restart: x}", "writing"),
    ],
)
def test_a_wrong_file_names_what_is_wrong(tmp_path, text, told):
    """A pattern that does not compile, an unknown macro, key or role, and what is missing."""
    path = tmp_path / "nlu.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TemplateError, match=r"nlu\.yaml") as caught:
        read_yaml(path, LanguageFile)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("text", "current", "expected"),
    [
        ("I loved Alien", "es", "en"),
        ("me encantó Alien", "en", "es"),
        ("no fantasy", "en", "en"),
        ("no", "es", "es"),
        ("no", "en", "en"),
        ("《异形》", "es", "es"),
        ("Alien", "zh", "en"),
    ],
)
def test_words_tell_the_language_of_a_script(text, current, expected):
    """Of English and Spanish one reads a turn: the likelier, else the dialogue's; Chinese always reads along."""
    assert set(languages_of(text, current)) == {expected, "zh"}


def test_words_of_a_title_tell_no_language(nlu, state):
    """A Spanish word in a title does not make the reply Spanish."""
    assert nlu.understand("Max Havelaar; One Hundred Years of Solitude; Se questo è un uomo", state).language != "es"


def test_joined_languages_know_the_words_of_each():
    """What was looked up in one language alone before does not hide another's words."""
    grammar_of.cache_clear()
    english = grammar_of(("en",))
    assert (english.numbers.value("two"), english.categories["sci-fi"]) == (2, "science fiction")
    joined = grammar_of(("en", "es"))
    assert (joined.numbers.value("dos"), joined.numbers.value("two")) == (2, 2)
    assert len(joined.categories) > len(english.categories)


def test_likes_and_dislikes_in_spanish(nlu, spanish):
    """Opinions before and behind titles, comparisons, what is known, corrections."""
    assert ids(nlu.understand("Me encantaron Blade Runner y Alien", spanish).likes) == [
        "blade-runner-1982",
        "alien-1979",
    ]
    said = nlu.understand("Alien fue aburrida pero me encantó Vertigo", spanish)
    assert (ids(said.likes), ids(said.dislikes)) == (["vertigo-1958"], ["alien-1979"])
    said = nlu.understand("algo parecido a Children of Men pero no tan triste como Come and See", spanish)
    assert (ids(said.likes), said.dislikes[0].preference) == (["children-of-men-2006"], -0.5)
    assert ids(nlu.understand("No me gustó Psycho", spanish).dislikes) == ["psycho-1960"]
    said = nlu.understand("no, me refería a Aliens, no a Alien", spanish)
    assert (ids(said.likes), [ref.id for ref in said.forget]) == (["aliens-1986"], ["alien-1979"])
    assert nlu.understand("Me encantó Paddington 2", spanish).questions[0].kind == "unknown"
    assert [ref.id for ref in nlu.understand("ya he leído Dune", spanish).known] == ["dune"]
    assert not nlu.understand("no he visto Psycho", spanish).likes


@pytest.mark.parametrize(
    ("text", "act", "about"),
    [
        ("¿por qué la segunda?", "why", ["kindred"]),
        ("¿por qué no Neuromancer?", "why_not", ["neuromancer"]),
        ("cuéntame más sobre la tercera", "tell", ["foundation"]),
        ("¿quién escribió la primera?", "tell", ["dune"]),
    ],
)
def test_questions_in_spanish(nlu, spanish, text, act, about):
    """Why, why not, and what the catalogue says of a shown item."""
    said = nlu.understand(text, spanish)
    assert (said.act, [ref.id for ref in said.about]) == (act, about)


def test_references_in_spanish(nlu, spanish):
    """Shown items by their place."""
    assert [ref.id for ref in nlu.understand("ya leí la primera y la tercera", spanish).known] == ["dune", "foundation"]
    assert ids(nlu.understand("más como la segunda", spanish).likes) == ["kindred"]
    assert ids(nlu.understand("la última no me gustó", spanish).dislikes) == ["solaris"]
    assert nlu.understand("otra lista", spanish).another_list


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nada de terror", {"not_categories": ("horror",)}),
        ("sin terror ni guerra", {"not_categories": ("horror", "war")}),
        ("solo misterio", {"categories": ("mystery",)}),
        ("antes de 1990", {"year_to": 1989}),
        ("después de 2000", {"year_from": 2001}),
        ("nada posterior a 1990", {"year_to": 1990}),
        ("entre 1950 y 1970", {"year_from": 1950, "year_to": 1970}),
        ("de los años ochenta", {"year_from": 1980, "year_to": 1989}),
        ("del siglo XIX", {"year_from": 1801, "year_to": 1900}),
        ("de los últimos diez años", {"year_from": 2016}),
        ("libros de Ursula K. Le Guin", {"creators": ("Ursula K. Le Guin",)}),
        ("solo novelas japonesas", {"languages": ("ja",)}),
    ],
)
def test_limits_in_spanish(nlu, spanish, text, expected):
    """Categories, periods, creators and languages become filters."""
    change = nlu.understand(text, spanish).filter
    assert change.model_dump(exclude_defaults=True, exclude={"add"}) == expected


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("hola", "greeting"),
        ("muchas gracias", "thanks"),
        ("adiós", "bye"),
        ("¿qué puedes hacer?", "help"),
        ("empecemos de nuevo", "restarted"),
        ("¿qué tiempo hace mañana?", "off_topic"),
    ],
)
def test_talk_in_spanish(nlu, spanish, text, note):
    """Greetings, thanks, starting over and what is not for a recommender."""
    assert note in nlu.understand(text, spanish).notes()


def test_a_switch_and_a_wish_in_spanish(nlu, spanish):
    """Another domain, a number, a free wish, another language of the reply."""
    assert nlu.understand("quiero ver una película", spanish).target == "films"
    assert nlu.understand("ahora películas", spanish).target == "films"
    assert nlu.understand("dame 3", spanish).k == 3
    assert nlu.understand("algo tranquilo sobre la memoria", spanish).wish == "algo tranquilo sobre la memoria"
    assert nlu.understand("responde en inglés", spanish).language == "en"


def test_a_spanish_dialogue_is_answered_in_spanish(nlu, state, lexicon):
    """An English dialogue whose user turns to Spanish goes on in Spanish."""
    decision = update_state(state, nlu.understand("Me encantó Blade Runner, nada de terror", state), lexicon.names())
    assert decision.state.language == "es"
    assert summary(decision.state) == "films → books; te gusta: «Blade Runner»; nada de horror"
    question = nlu.understand("Me encantó Paddington 2", decision.state).questions[0]
    assert question_sentence(question, "es").startswith("No conozco «Paddington 2»")
    thanks = nlu.understand("gracias", decision.state)
    assert remark_sentences(thanks.remarks, "es") == ["De nada."]


def test_sentences_are_checked(tmp_path):
    """A key that nobody reads, or one that is missing, is an error."""
    path = tmp_path / "chat.yaml"
    path.write_text("comma: ', '\nhello: x\n", encoding="utf-8")
    with pytest.raises(TemplateError, match="hello"):
        read_yaml(path, ChatSentences)
