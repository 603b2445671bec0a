"""The outbound engine, blind to vendors: plan, batch, send, note.

Three steps per batch: note `sending`, call, note one outcome per record. A run that dies between them leaves
records in doubt, and the stream's declared policy says what happens next.
"""

from engage_pipelines.delivery.batches import cut_batches
from engage_pipelines.delivery.doubt import policy_of
from engage_pipelines.delivery.engine import Delivery
from engage_pipelines.delivery.guard import Bounds
from engage_pipelines.delivery.masking import mask
from engage_pipelines.delivery.results import Delivered, Preview

__all__ = ["Bounds", "Delivered", "Delivery", "Preview", "cut_batches", "mask", "policy_of"]
