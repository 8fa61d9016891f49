"""The schedule: messages that wait for their time."""
