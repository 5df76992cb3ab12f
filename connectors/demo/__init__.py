"""Demonstration: traffic that looks real, and gateways that collect it, for `manage.py demo`.

`traffic` writes files into Pickup and Replay, `gateway` takes them out of the drop directories and answers,
`play` makes what both need and runs them. They use the directories like any program outside: nothing in the
product knows them.
"""
