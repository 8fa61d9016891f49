"""Other brokers, started here to be measured beside Portask."""
