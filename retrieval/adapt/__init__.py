"""Adaptation. Reads models and what people liked, produces models that carry taste from one domain to another."""

from retrieval.adapt.contrastive_task import SetShape, SetTask
from retrieval.adapt.device import Device, device_of
from retrieval.adapt.frozen_layers import Kept
from retrieval.adapt.item_views import ViewTask, read_views
from retrieval.adapt.lora_encoder import (
    EncoderShape,
    TrainedEncoder,
    merged_encoder,
    open_encoder_for_training,
    take_additions,
)
from retrieval.adapt.matched_negatives import Counts, nearest_counts
from retrieval.adapt.preferences import read_taste
from retrieval.adapt.training import CURVE, LOG, Plan, Progress, Report, Task, Trainable, train
from retrieval.adapt.user_split import TEST_FOLD, WhoLearns, learners

__all__ = [
    "CURVE",
    "LOG",
    "TEST_FOLD",
    "Counts",
    "Device",
    "EncoderShape",
    "Kept",
    "Plan",
    "Progress",
    "Report",
    "SetShape",
    "SetTask",
    "Task",
    "Trainable",
    "TrainedEncoder",
    "ViewTask",
    "WhoLearns",
    "device_of",
    "learners",
    "merged_encoder",
    "nearest_counts",
    "open_encoder_for_training",
    "read_taste",
    "read_views",
    "take_additions",
    "train",
]
