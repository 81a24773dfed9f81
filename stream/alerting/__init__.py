"""Events told to others: webhooks, MQTT, subscribers."""
