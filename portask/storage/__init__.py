"""Storage: logs and tables, written in atomic rounds. It knows no topic and no protocol."""
