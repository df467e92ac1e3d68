"""Adaptation of the encoder. Reads a store and an encoder, produces LoRA adapters; has the loop of every training.

The contrastive task learns from what users liked, the item-view task from item texts alone.
"""

from retrieval.adapt.contrastive_task import ContrastiveSettings, ContrastiveTask
from retrieval.adapt.frozen_layers import StateCache
from retrieval.adapt.item_views import ItemViewTask, read_item_views
from retrieval.adapt.lora import Device, LoraModel, add_lora, device_of, load_lora
from retrieval.adapt.lora_encoder import EncoderLoraSettings, LoraEncoder, merged_encoder, open_encoder_for_training
from retrieval.adapt.negatives import Counts, nearest_counts
from retrieval.adapt.plan import CURVE, LOG, ReportProgress, Task, TrainingPlan, TrainingProgress
from retrieval.adapt.preferences import TEST_FOLD, SplitSettings, read_preferences, split_users
from retrieval.adapt.training import train

__all__ = [
    "CURVE", "LOG", "TEST_FOLD", "ContrastiveSettings", "ContrastiveTask", "Counts", "Device",
    "EncoderLoraSettings", "ItemViewTask", "LoraEncoder", "LoraModel", "ReportProgress", "SplitSettings",
    "StateCache", "Task", "TrainingPlan", "TrainingProgress", "add_lora", "device_of", "load_lora",
    "merged_encoder", "nearest_counts", "open_encoder_for_training", "read_item_views", "read_preferences",
    "split_users", "train",
]  # fmt: skip
