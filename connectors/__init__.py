"""Configuration and transport of mail: connectors, domains, queues and the stages between them."""
