"""Adaptation of the language model. Reads a store, produces adapters: small additions to a model's weights.

Two kinds are trained. A *list* adapter learns to choose among candidates, from prompts that are exactly those the
reranker sends (`training_lists`, `list_prompts`). A *text* adapter goes on with pretraining on a domain's item texts
(`continued`). `training` is the loop that both share, `adapters` keeps, lists and merges what came of it.
"""
