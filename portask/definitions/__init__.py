"""RabbitMQ's definitions: what is declared, as one JSON document, with policies and parameters."""
