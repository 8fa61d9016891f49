"""Methods by their numbers."""

from __future__ import annotations

from handlers.amqp.tables import ALL_METHODS, Method

METHODS: dict[tuple[int, int], Method] = {(method.class_id, method.method_id): method for method in ALL_METHODS}
"""By class and method, such as (60, 40) for basic.publish."""
