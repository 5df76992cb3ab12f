"""The straight line a message takes, one stage a module.

Stages, in order: `pickup` and `replay` take files and call `submission`; `categorizer` resolves and routes
(`routing`) and hands copies to `queue`; `delivery` leases them and calls a courier; `reports` turns owed
reports into notices, which are submitted again. `runner` loops the stages.
Stages meet only in tables: none calls another; each commits rows and the next one finds them.
"""
