"""Query to answer. Reads a query, produces explained recommendations, and logs what was recommended."""

from retrieval.ranking import apply_exclusions, build_query
from xdrec_agent.recommend.recommendation_log import FeedbackEvent, LoggedAnswer, RecommendationLog
from xdrec_agent.recommend.recommender import Recommender

__all__ = ["FeedbackEvent", "LoggedAnswer", "RecommendationLog", "Recommender", "apply_exclusions", "build_query"]
