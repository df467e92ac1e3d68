"""The parts put together. Reads settings, produces open parts, checks of what is ready, demos, personal data."""

from xdrec_agent.app.arms import arm_of, settings_by_arm
from xdrec_agent.app.demo import DemoPack, DemoQuery, find_pack, load_pack
from xdrec_agent.app.doctor import describe_ranking, diagnose
from xdrec_agent.app.factory import (
    load_templates,
    make_recommender,
    open_client,
    open_dialogues,
    open_encoder,
    open_facets,
    open_index,
    open_keys,
    open_recommendation_log,
    open_recommender,
    open_relations,
    open_responses,
    open_retriever,
    open_store,
)
from xdrec_agent.app.indexes import IndexState, index_new_items, index_state, index_states
from xdrec_agent.app.keys import Key, Keys
from xdrec_agent.app.personal_data import PLACES, delete_user, export_user, rejects_folder
from xdrec_agent.app.settings_file import Value, set_values

__all__ = [
    "PLACES", "DemoPack", "DemoQuery", "IndexState", "Key", "Keys", "Value", "arm_of", "delete_user",
    "describe_ranking", "diagnose", "export_user", "find_pack", "index_new_items", "index_state", "index_states",
    "load_pack", "load_templates", "make_recommender", "open_client", "open_dialogues", "open_encoder",
    "open_facets", "open_index", "open_keys", "open_recommendation_log", "open_recommender", "open_relations",
    "open_responses", "open_retriever", "open_store", "rejects_folder", "set_values", "settings_by_arm",
]  # fmt: skip
