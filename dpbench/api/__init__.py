"""What a plugin implements, from Dataset to Metric, and what it is given.

Conventions that hold everywhere:

* images at rest are ``uint8`` tensors of shape ``[N, C, H, W]``;
* images inside models are ``float32`` in ``[0, 1]``, same shape;
* latents are ``float32`` tensors of shape ``[N, d]``;
* every random draw comes from a generator that :class:`Context` hands out.
"""

from dpbench.api.context import Context, derive_seed
from dpbench.api.dataset import Dataset
from dpbench.api.evaluator import Evaluator, Weights, state_sha256
from dpbench.api.executor import Executor, Outcome, Workplace
from dpbench.api.extractor import Extractor
from dpbench.api.generator import PrivateGenerator
from dpbench.api.images import LabelledImages, Partition, to_float, to_uint8
from dpbench.api.metric import Column, Metric, MetricUnavailable, Unlabelled
from dpbench.api.plugin import Params, Plugin
from dpbench.api.public_model import Capability, PublicModel

__all__ = [
    "Capability",
    "Column",
    "Context",
    "Dataset",
    "Evaluator",
    "Executor",
    "Extractor",
    "LabelledImages",
    "Metric",
    "MetricUnavailable",
    "Outcome",
    "Params",
    "Partition",
    "Plugin",
    "PrivateGenerator",
    "PublicModel",
    "Unlabelled",
    "Weights",
    "Workplace",
    "derive_seed",
    "state_sha256",
    "to_float",
    "to_uint8",
]
