"""The outbound engine, blind to vendors: plan, batch, send, note.

Three steps per batch: note `sending`, call, note one outcome per record. A run that dies between them leaves
records in doubt, and the stream's declared policy says what happens next.
"""

from engage_pipelines.delivery.batches import cut_batches
from engage_pipelines.delivery.engine import Delivered, Delivery, Preview

__all__ = ["Delivered", "Delivery", "Preview", "cut_batches"]
