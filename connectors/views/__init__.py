"""Pages of connectors: function views, each a question to `connectors.reads` and a template."""
