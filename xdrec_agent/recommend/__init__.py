"""The whole way. Reads a query, produces explained recommendations, and keeps what was answered."""

from xdrec_agent.recommend.exclusions import excluding
from xdrec_agent.recommend.log import AnswerEvent, Answers, KeptAnswer
from xdrec_agent.recommend.query_builder import build_query
from xdrec_agent.recommend.recommender import Recommender

__all__ = ["AnswerEvent", "Answers", "KeptAnswer", "Recommender", "build_query", "excluding"]
