"""The parts put together. Reads settings, produces open parts, checks of what is ready, demos, personal data."""

from xdrec_agent.app.demo import Ask, DemoPack, find_pack, load_pack
from xdrec_agent.app.doctor import diagnose, ranking
from xdrec_agent.app.factory import make_recommender, open_recommender
from xdrec_agent.app.index_state import index_states
from xdrec_agent.app.keys import Key, Keys
from xdrec_agent.app.parts import (
    load_templates,
    open_answers,
    open_client,
    open_dialogues,
    open_encoder,
    open_facets,
    open_index,
    open_relations,
    open_responses,
    open_retriever,
    open_store,
)
from xdrec_agent.app.personal_data import delete_user, export_user, rejects_folder
from xdrec_agent.app.settings_file import Value, set_values

__all__ = [
    "Ask",
    "DemoPack",
    "Key",
    "Keys",
    "Value",
    "delete_user",
    "diagnose",
    "export_user",
    "find_pack",
    "index_states",
    "load_pack",
    "load_templates",
    "make_recommender",
    "open_answers",
    "open_client",
    "open_dialogues",
    "open_encoder",
    "open_facets",
    "open_index",
    "open_recommender",
    "open_relations",
    "open_responses",
    "open_retriever",
    "open_store",
    "ranking",
    "rejects_folder",
    "set_values",
]
